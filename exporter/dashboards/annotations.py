"""Annotations: what happened, at its time on every panel of a dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.dashboards import metrics as m
from exporter.dashboards import states
from exporter.dashboards.panels import DATA_SOURCE
from exporter.dashboards.query import by, labels_of, on
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from exporter.dashboards.query import Scope


def suite_runs(scope: Scope) -> dict[str, Any]:
    """Annotate the starts of suites' runs."""
    query = scope.each(c.SUITE_CURRENT_RUN_START)
    return _annotation("Suite started", query, "{{suite}} ({{source}})", states.BLUE)


def other_runs(scope: Scope) -> dict[str, Any]:
    """Annotate the starts of runs that belong to no suite."""
    alone = scope.select(c.RUN_INFO, 'suite_id=""')
    query = f"({scope.each(c.RUN_START)} and {on(labels_of(c.RUN_START))} {alone})"
    return _annotation("Run started", query, "{{run}} ({{source}})", states.BLUE)


def restarts(scope: Scope, *, enabled: bool = True) -> dict[str, Any]:
    """Annotate the starts of agents' software."""
    query = scope.each(c.AGENT_START)
    made = _annotation("Agent started", query, "{{agent}} ({{source}})", states.ORANGE)
    return made | {"enable": enabled}


def reloads(scope: Scope) -> dict[str, Any]:
    """Annotate the times from which on a configuration holds."""
    query = by("max", ("instance",), scope.select(m.RELOAD_SUCCESS_TIMESTAMP))
    return _annotation("Configuration loaded", query, "{{instance}}", "purple")


def _annotation(name: str, query: str, text: str, colour: str) -> dict[str, Any]:
    """Return lines over all panels as Grafana reads them.

    Args:
        name: What happened.
        query: When it happened, in seconds.
        text: What is said beside the name, with labels in double braces.
        colour: The lines'.
    """
    return {
        "name": name,
        "datasource": DATA_SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": f"{query} * 1000",
        "titleFormat": name,
        "textFormat": text,
        "useValueForTime": True,
    }
