"""All dashboards, and which panel explains which alert."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.alerts import table
from exporter.alerts.thresholds import RUNBOOK_URL, Thresholds
from exporter.dashboards.agents import agents
from exporter.dashboards.dashboard import Context, Dashboard
from exporter.dashboards.exporter_board import exporter
from exporter.dashboards.overview import overview
from exporter.dashboards.suites import suites


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a panel is."""

    uid: str
    panel: int


def dashboards(thresholds: Thresholds) -> tuple[Dashboard, ...]:
    """Make all dashboards, the most general first."""
    names = tuple(rule.name for rule in table.rules(thresholds))
    context = Context(thresholds=thresholds, alerts=names)
    return (overview(context), agents(context), suites(context), exporter(context))


def files(thresholds: Thresholds, *, runbook_url: str = RUNBOOK_URL) -> dict[str, str]:
    """Return the text of each dashboard's file by its name.

    Args:
        thresholds: What the alerts compare with.
        runbook_url: Where the runbooks are served.
    """
    made = dashboards(thresholds)
    return {each.file_name: each.text(runbook_url=runbook_url) for each in made}


def places(made: Iterable[Dashboard]) -> Mapping[str, Place]:
    """Return the panel that explains each alert, by the alert's name."""
    return {
        name: Place(uid=dashboard.uid, panel=number)
        for dashboard in made
        for number, panel in dashboard.numbered()
        for name in panel.answers
    }
