"""Annotations: what happened, at its time on every panel of a dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.dashboards import metrics as m
from exporter.dashboards import states
from exporter.dashboards.panels import DATA_SOURCE
from exporter.dashboards.query import by, labels_of, on
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from exporter.dashboards.query import Scope


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """Lines at the times that are the values of a query, in milliseconds.

    Attributes:
        text: What a line says, with labels in double braces.
        enabled: Whether they are shown until somebody decides otherwise.
    """

    name: str
    query: str
    text: str
    colour: str
    enabled: bool = True

    def json(self) -> dict[str, Any]:
        """Return it as Grafana reads it."""
        return {
            "name": self.name,
            "datasource": DATA_SOURCE,
            "enable": self.enabled,
            "hide": False,
            "iconColor": self.colour,
            "expr": self.query,
            "titleFormat": self.name,
            "textFormat": self.text,
            "useValueForTime": True,
        }


def suite_runs(scope: Scope) -> Annotation:
    """Annotate the starts of suites' runs."""
    return Annotation(
        name="Suite started",
        query=f"{scope.each(c.SUITE_CURRENT_RUN_START)} * 1000",
        text="{{suite}} ({{source}})",
        colour=states.BLUE,
    )


def other_runs(scope: Scope) -> Annotation:
    """Annotate the starts of runs that belong to no suite."""
    alone = scope.select(c.RUN_INFO, 'suite_id=""')
    return Annotation(
        name="Run started",
        query=f"({scope.each(c.RUN_START)} and {on(labels_of(c.RUN_START))} {alone}) * 1000",
        text="{{run}} ({{source}})",
        colour=states.BLUE,
    )


def restarts(scope: Scope, *, enabled: bool = True) -> Annotation:
    """Annotate the starts of agents' software."""
    return Annotation(
        name="Agent started",
        query=f"{scope.each(c.AGENT_START)} * 1000",
        text="{{agent}} ({{source}})",
        colour=states.ORANGE,
        enabled=enabled,
    )


def reloads(scope: Scope) -> Annotation:
    """Annotate the times from which on a configuration holds."""
    return Annotation(
        name="Configuration loaded",
        query=f"{by('max', ('instance',), scope.select(m.RELOAD_SUCCESS_TIMESTAMP))} * 1000",
        text="{{instance}}",
        colour="purple",
    )
