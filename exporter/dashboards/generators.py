"""The dashboard about Locust and Selenium Grid: the load on workers and nodes, and the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts.about import Uid
from exporter.dashboards import panels as p
from exporter.dashboards import query as q
from exporter.dashboards import states as s
from exporter.dashboards.dashboard import RELOADS, RUNS, Dashboard
from exporter.metrics import catalogue as c
from exporter.sources.locust import families as locust
from exporter.sources.selenium import families as selenium


if TYPE_CHECKING:
    from exporter.alerts.thresholds import Thresholds
    from exporter.metrics.catalogue import Family


_AGENT = "{{agent}} ({{source}})"
_RUN = "{{run}} ({{source}})"
_NO_TEST = "No test of Locust, as far as is known."
_NO_WORKER = "No worker of Locust, as far as is known."
_NO_GRID = "No Selenium Grid, as far as is known."

_used = f"{q.each(selenium.AGENT_SESSIONS)} / {q.each(selenium.AGENT_SESSIONS_LIMIT)}"
_fullest = q.at_end(selenium.AGENT_SESSIONS)
_node = q.on((*c.COMMON_LABELS, "agent_id"))


def _of_grid(family: Family) -> str:
    return q.by("sum", c.COMMON_LABELS, q.each(family))


def board(limits: Thresholds) -> Dashboard:
    """Return the dashboard."""
    del limits
    panels = (
        p.heading("Tests of Locust"),
        p.series("Users of tests", {_RUN: q.highest(locust.RUN_USERS)}, empty=_NO_TEST, w=8),
        p.series("Requests of tests",
            {
                _RUN: q.highest(locust.RUN_REQUEST_RATE),
                "{{run}} failed ({{source}})": q.highest(locust.RUN_FAILURE_RATE),
            },
            empty=_NO_TEST, w=8),
        p.series("Response times of tests",
            {
                "{{run}} mean ({{source}})": q.highest(locust.RUN_RESPONSE_MEAN),
                "{{run}} {{percentile}} % ({{source}})": q.highest(locust.RUN_RESPONSE),
            },
            "s", empty=_NO_TEST, w=8),
        p.heading("Workers of Locust"),
        p.series("CPU of workers", {_AGENT: q.highest(locust.AGENT_CPU)}, "percentunit",
            steps=s.above(0.9, s.ORANGE, s.GREEN), empty=_NO_WORKER, w=8),
        p.series("Users of workers", {_AGENT: q.highest(locust.AGENT_USERS)},
            empty=_NO_WORKER, w=8),
        p.series("Memory of workers", {_AGENT: q.highest(locust.AGENT_MEMORY)}, "bytes",
            empty=_NO_WORKER, w=8),
        p.heading("Nodes of Selenium Grid"),
        p.series("Sessions of a grid",
            {
                "in use ({{source}})": _of_grid(selenium.AGENT_SESSIONS),
                "possible ({{source}})": _of_grid(selenium.AGENT_SESSIONS_LIMIT),
                "waiting ({{source}})": q.each(selenium.QUEUED_SESSIONS),
            },
            overrides=(p.override("^possible ", by="byRegexp", **p.DASHED),),
            empty=_NO_GRID),
        p.series("Use of nodes",
            {_AGENT: f"{_used} and {_node} topk({q.SOME}, {_fullest})"}, "percentunit",
            empty=_NO_GRID),
    )  # fmt: skip
    return Dashboard(
        uid=Uid.GENERATORS,
        title="Load test fleet: Locust and Selenium",
        description="The load on workers and nodes, and the results of tests.",
        variables={"agent": c.AGENT_INFO, "run": c.RUN_INFO},
        marks=(RUNS, RELOADS),
        panels=panels,
    )
