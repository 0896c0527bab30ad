"""Marks on the time axis: runs, restarts, reloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.dashboards import metrics as m
from exporter.dashboards import states
from exporter.dashboards.dashboard import Annotation
from exporter.dashboards.query import by
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS


if TYPE_CHECKING:
    from exporter.dashboards.query import Scope


def suite_runs(scope: Scope) -> Annotation:
    """Mark the starts of suites' runs."""
    return Annotation(
        name="Suite started",
        expression=f"{scope.each(c.SUITE_CURRENT_RUN_START)} * 1000",
        title="{{suite}} ({{source}})",
        colour=states.BLUE,
    )


def other_runs(scope: Scope) -> Annotation:
    """Mark the starts of runs that belong to no suite."""
    alone = scope.select(c.RUN_INFO, 'suite_id=""')
    labels = (*COMMON_LABELS, *c.RUN_START.labels)
    return Annotation(
        name="Run started",
        expression=f"({scope.each(c.RUN_START)} and on ({', '.join(labels)}) {alone}) * 1000",
        title="{{run}} ({{source}})",
        colour=states.BLUE,
    )


def restarts(scope: Scope, *, enabled: bool = True) -> Annotation:
    """Mark the starts of agents' software."""
    return Annotation(
        name="Agent started",
        expression=f"{scope.each(c.AGENT_START)} * 1000",
        title="{{agent}} ({{source}})",
        colour=states.ORANGE,
        enabled=enabled,
    )


def reloads(scope: Scope) -> Annotation:
    """Mark the times from which on a configuration holds."""
    selector = scope.select(m.RELOAD_SUCCESS_TIMESTAMP)
    return Annotation(
        name="Configuration loaded",
        expression=f"{by('max', ('instance',), selector)} * 1000",
        title="{{instance}}",
        colour="purple",
    )
