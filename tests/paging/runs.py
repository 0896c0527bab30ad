"""Runs and suites that fail."""

from __future__ import annotations

from tests.paging.pager import NEW, RESOLVED, work
from tests.paging.scenario import Stage, scenario


#: From one run of a simulated suite or test to the next.
_PERIOD_SECONDS = 400.0

#: So long ago that it has ended, the newest run began.
_LATEST_SECONDS = 300.0


@scenario(tasks=("suites",), suites=1)
async def suite_fails_every_second_run(it: Stage) -> None:
    """A9: each of its failures is told at once, though the next run passes soon."""
    fleet = it.simulation.fleet
    suite = fleet.suites["2"]
    suite.outcomes, suite.history, suite.latest_seconds = ["pass", "fail"], 5, _LATEST_SECONDS
    suite.period_seconds = _PERIOD_SECONDS
    await it.polls()
    for _ in range(3):
        it.skip(_PERIOD_SECONDS)
        await it.told(work(NEW, "SuiteFailed", "2"))
        it.skip(_PERIOD_SECONDS)
        await it.told(work(RESOLVED, "SuiteFailed", "2"))


@scenario(provider="blazemeter", tasks=("runs",), tests=1)
async def run_of_a_suite_fails(it: Stage) -> None:
    """A9: a failed run of a test is told once, as the test's."""
    account = it.simulation.account
    ((key, test),) = account.tests.items()
    test.verdicts, test.history, test.latest_seconds = ["pass", "fail"], 11, _LATEST_SECONDS
    test.period_seconds = _PERIOD_SECONDS
    await it.polls()
    it.skip(_PERIOD_SECONDS)
    await it.told(work(NEW, "SuiteFailed", key))
    await it.silence()
    it.skip(_PERIOD_SECONDS)
    await it.told(work(RESOLVED, "SuiteFailed", key))
