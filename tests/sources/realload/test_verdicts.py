"""No run may be called better than it is, for any counts, states, times and lists of a portal."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.fleet.readings import Outcome, Suite
from tests.support.realload import Rig
from tests.support.restart import Restarts


LISTS = "getTestExecutionSuites"
RUNNING = "getCurrentlyRunningTestExecutionSuiteIds"
NOW = 1_700_000_000
QUIET_SECONDS = 240

COUNTS = st.sampled_from([None, -1, 0, 1, 2, 3, 4, 2.5, "3", 10**400])
STATES = st.sampled_from([None, -1, 0, 1, 2, 3, 7, "2"])
AGES = st.sampled_from([None, -3600, 0, 100, 239, 241, 250, 3600, 10**6])


def row(number: int, state: Any, counts: tuple[Any, Any, Any], ages: tuple[Any, Any]) -> Any:
    """Make a run of the list; the ages are those of its start and of its last update."""
    planned, passed, failed = counts
    start, updated = (None if age is None else (NOW - age) * 1000 for age in ages)
    return {
        "testRunId": number,
        "executionState": state,
        "testRunStartTimestamp": start,
        "testRunLastUpdatedTimestamp": updated,
        "numTestjobTemplatesToExecute": planned,
        "numTestjobTemplatesExecutionPassed": passed,
        "numTestjobTemplatesExecutionFailed": failed,
    }


#: A run without its number, which is its position.
RUNS = st.tuples(STATES, st.tuples(COUNTS, COUNTS, COUNTS), st.tuples(AGES, AGES))
LISTED = st.tuples(st.booleans(), st.booleans())


def newest(rows: list[Any]) -> Any:
    """Return the number of the run that started last; the highest if not all starts are known."""
    starts = [each["testRunStartTimestamp"] for each in rows]
    if None in starts:
        return len(rows)
    return max(range(len(rows)), key=lambda index: (starts[index], index)) + 1


def portal(rows: list[Any], listed: tuple[bool, bool]) -> Rig:
    """Make a portal with one suite; whether it is listed as running before and after the list."""
    rig = Rig()
    tell(rig, rows, listed)
    return rig


def tell(rig: Rig, rows: list[Any], listed: tuple[bool, bool]) -> None:
    """Change the portal's answers from now on."""
    answers = iter([{"testExecutionSuiteIdArray": [2] if each else []} for each in listed * 2])
    suite = {"testExecutionSuite": {"testExecutionSuiteId": 2}, "testRunResultsArray": rows}
    rig.portal.script |= {
        LISTS: {"testExecutionSuitesArray": [suite], "isError": False},
        RUNNING: lambda _: next(answers),
    }


def read(rig: Rig) -> Suite:
    """Poll and return the suite."""
    (suite,) = asyncio.run(rig.source.poll("suites")).readings
    assert isinstance(suite, Suite)
    return suite


@given(runs=st.lists(RUNS, max_size=4), listed=LISTED)
def test_nothing_passed_without_evidence(runs: list[Any], listed: tuple[bool, bool]) -> None:
    """A run that passed executed all it was to, failed nothing, and is over."""
    rows = [row(number, *each) for number, each in enumerate(runs, start=1)]

    suite = read(portal(rows, listed))

    passed = {run.run_id for run in suite.history if run.outcome is Outcome.PASSED}
    assert bool(passed) or suite.last_run_passed is not True
    for number, (state, (planned, good, bad), ages) in enumerate(runs, start=1):
        if str(number) in passed:
            assert (planned, 0) == (good, bad)
            assert planned > 0
            known = [age for age in ages if age is not None]
            is_old = bool(known) and min(known) > QUIET_SECONDS and not any(listed)
            assert state == 2 or is_old or number != newest(rows)


@given(runs=st.lists(RUNS, max_size=4), listed=LISTED)
def test_a_run_in_flight_is_not_judged(runs: list[Any], listed: tuple[bool, bool]) -> None:
    """A run in flight must have no outcome and no place in the history."""
    rows = [row(number, *each) for number, each in enumerate(runs, start=1)]

    suite = read(portal(rows, listed))

    assert suite.running is (any(listed) or suite.current_run is not None)
    assert len(rows) == len(suite.history) + (suite.current_run is not None)
    assert all(run.outcome is not None for run in suite.history)
    if suite.current_run is not None:
        current = suite.current_run
        assert (None, None, None) == (
            current.outcome,
            current.end_timestamp_seconds,
            current.duration_seconds,
        )
        assert current.run_id not in {run.run_id for run in suite.history}
        assert 2 != runs[int(current.run_id) - 1][0]


@given(state=STATES, counts=st.tuples(COUNTS, COUNTS, COUNTS), ages=AGES, listed=LISTED)
def test_nothing_but_a_pass_ends_a_failure(
    state: Any, counts: tuple[Any, Any, Any], ages: Any, listed: tuple[bool, bool]
) -> None:
    """Only a later pass may end a failure: not a stop, a missing verdict, or a run in flight."""
    failed = row(1, 2, (3, 2, 1), (7200, 7000))
    newer = row(2, state, counts, (min(ages or 0, 6000), ages))
    planned, passed, _ = counts

    suite = read(portal([failed, newer], listed))

    if suite.last_run_passed is not False:
        assert planned == passed
        assert suite.last_run is not None
        assert ("2", Outcome.PASSED) == (suite.last_run.run_id, suite.last_run.outcome)


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([30, 60, 200]), st.booleans(), LISTED), min_size=2, max_size=8
    ),
    results=st.lists(st.sampled_from(["passed", "failed"]), max_size=3),
    before=st.sampled_from([None, True, False]),
)
def test_a_run_is_judged_at_its_end_and_not_before(
    steps: list[tuple[int, bool, tuple[bool, bool]]], results: list[str], before: bool | None
) -> None:
    """Polls while it goes on, with restarts and a list of running suites that comes and goes."""

    async def play() -> None:
        rig = Rig()
        restarts = Restarts(rig, rig.time)
        earlier = (
            [] if before is None else [row(1, 2, (1, int(before), int(not before)), (900, 800))]
        )
        begun = rig.time.unix

        def run(state: int, done: list[str]) -> Any:
            made = row(2, state, (3, done.count("passed"), done.count("failed")), (None, None))
            times = {"testRunStartTimestamp": begun, "testRunLastUpdatedTimestamp": rig.time.unix}
            return made | {name: int(time * 1000) for name, time in times.items()}

        async def polled(listed: tuple[bool, bool], *rows: Any) -> Suite:
            tell(rig, [*earlier, *rows], listed)
            (suite,) = await restarts.poll("suites")
            assert isinstance(suite, Suite)
            return suite

        for number, (seconds, restarted, listed) in enumerate(steps):
            suite = await polled(listed, run(1, results[:number]))
            assert suite.running
            assert suite.current_run is not None
            assert ("2", before) == (suite.current_run.run_id, suite.last_run_passed)
            rig.time.shift(seconds)
            if restarted:
                restarts.restart(down_seconds=1)

        suite = await polled((False, False), run(2, results))

        expected = Outcome.INCOMPLETE if len(results) < 3 else Outcome.PASSED
        expected = Outcome.FAILED if "failed" in results else expected
        assert suite.last_run is not None
        assert (False, None, "2", expected) == (
            suite.running,
            suite.current_run,
            suite.last_run.run_id,
            suite.last_run.outcome,
        )
        assert (expected is Outcome.PASSED) is suite.last_run_passed

    asyncio.run(play())
