"""The row about the built-in alerts: the cost of one evaluation for ten thousand agents."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from exporter.alerts import samples
from exporter.alerts.evaluate import Alerts, Evaluator
from exporter.alerts.evidence import EVIDENCE
from exporter.alerts.rule import Links
from exporter.alerts.settings import AlertingSettings
from exporter.clock import Moment
from exporter.metrics.telemetry import SelfMetrics
from tests.bench.fleet import snapshot
from tests.bench.harness import Figure, median


if TYPE_CHECKING:
    from exporter.fleet.readings import Agent
    from exporter.fleet.store import Snapshot


_GOAL_MS = 100.0


def evaluation(*, quick: bool) -> list[Figure]:
    """Measure an evaluation of fleets of which none, one percent and all are down."""
    agents = 1_000 if quick else 10_000
    found = {down: _milliseconds(agents, down) for down in (0.0, 0.01, 1.0)}
    return [
        Figure(
            row="evaluation",
            what=f"CPU of an evaluation of {agents:,} agents over {_GOAL_MS:g} ms",
            value=found[0.0] / _GOAL_MS,
            goal=1.0,
            detail={f"{down:.0%}_down_ms": taken for down, taken in found.items()},
        )
    ]


def _milliseconds(agents: int, down: float) -> float:
    """Return the CPU that an evaluation takes, from snapshot to alerts."""
    rules = [rule for rule in AlertingSettings().rules() if rule.built_in]
    evaluator = Evaluator(rules, links=Links(runbook_url="https://example.com"))
    names = samples.metrics(rules) | EVIDENCE
    registry = SelfMetrics().registry
    fleets = [_fleet(agents, turn, int(agents * down)) for turn in (1, 3)]
    alerts = Alerts()
    times = []
    for turn in range(9):
        fleet = fleets[turn % 2]
        now = Moment(unix=fleet.taken.unix + 15 * turn, monotonic=15.0 * turn)
        begun = time.process_time()
        newest = samples.view([fleet], registry, names)
        alerts = evaluator.evaluate(newest, now, alerts)
        times.append((time.process_time() - begun) * 1e3)
    assert len(alerts.active) >= agents * down
    return median(times[1:])


def _fleet(agents: int, turn: int, down: int) -> Snapshot:
    found = snapshot(agents, turn)
    each = partial(_agent, down=down)
    return replace(found, readings=tuple(map(each, range(agents), found.readings)))


def _agent(number: int, agent: Agent, *, down: int) -> Agent:
    """Return an agent with at most one problem."""
    assert agent.state is not None
    state = replace(agent.state, up=number >= down, outdated=False, clock_delta_seconds=0.1)
    return replace(agent, active=True, protected=True, state=state)
