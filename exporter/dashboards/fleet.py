"""All dashboards, for one set of thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts import table
from exporter.dashboards.agents import agents
from exporter.dashboards.dashboard import Context, Dashboard
from exporter.dashboards.exporter_board import exporter
from exporter.dashboards.overview import overview
from exporter.dashboards.suites import suites


if TYPE_CHECKING:
    from exporter.alerts.thresholds import Thresholds


def dashboards(thresholds: Thresholds) -> tuple[Dashboard, ...]:
    """Make all dashboards, the most general first.

    Args:
        thresholds: What the alerts compare with; of those that are off, nothing is shown.
    """
    names = tuple(rule.name for rule in table.rules(thresholds))
    context = Context(thresholds=thresholds, alerts=names)
    return (overview(context), agents(context), suites(context), exporter(context))
