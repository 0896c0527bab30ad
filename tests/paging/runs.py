"""Runs and suites that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.paging.pager import NEW, RESOLVED, work
from tests.paging.scenario import Stage, scenario


if TYPE_CHECKING:
    from exporter.simulator.server import Simulation


SUITE, TEST = "2", "14000001"

#: The time between two runs of a simulated suite or test.
_PERIOD_SECONDS = 400.0

#: The age of the newest run, which has ended since.
_LATEST_SECONDS = 300.0


def _suite(simulation: Simulation) -> None:
    suite = simulation.fleet.suites[SUITE]
    suite.outcomes, suite.history = ["pass", "fail"], 5
    suite.latest_seconds, suite.period_seconds = _LATEST_SECONDS, _PERIOD_SECONDS


@scenario(tasks=("suites",), suites=1, prepare=_suite)
async def suite_fails_every_second_run(it: Stage) -> None:
    """Notify of each failure of a suite, even if the next run passes sooner than after `for`."""
    passed = f'loadfleet_suite_last_run_passed{{source="{it.scenario.name}"}}'
    await it.world.prometheus.until_values(passed, [1.0])
    for _ in range(3):
        it.expect(work(NEW, "SuiteFailed", SUITE), work(RESOLVED, "SuiteFailed", SUITE))
        it.skip(_PERIOD_SECONDS)
        await it.world.prometheus.until_values(passed, [0.0])
        await it.polls(3)
        it.skip(_PERIOD_SECONDS)
        await it.as_expected()


def _test(simulation: Simulation) -> None:
    test = simulation.account.tests[TEST]
    test.history = 11
    test.verdicts = [*["pass"] * test.history, "fail"]  # type: ignore[list-item]
    test.latest_seconds, test.period_seconds = _LATEST_SECONDS, _PERIOD_SECONDS


@scenario(provider="blazemeter", tasks=("runs",), tests=1, prepare=_test)
async def run_of_a_suite_fails(it: Stage) -> None:
    """Notify of a test's failed run once, as an alert about the test."""
    await it.polls()
    it.skip(_PERIOD_SECONDS)
    await it.told(work(NEW, "SuiteFailed", TEST))
    await it.silence()
    it.skip(_PERIOD_SECONDS)
    await it.told(work(RESOLVED, "SuiteFailed", TEST))
