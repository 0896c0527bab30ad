from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import PollError
from exporter.fleet.readings import Suite, SuiteRun
from tests.support.realload import Rig, Script, exposed, fixture, reply


_RUNNING = "getCurrentlyRunningTestExecutionSuiteIds"


def running(*ids: int) -> dict[str, Any]:
    return {"testExecutionSuiteIdArray": list(ids), "isError": False}


def rig(suites: Script = "ok", now: Script = "none") -> Rig:
    return Rig({"getTestExecutionSuites": suites, _RUNNING: now})


async def suites_of(source: Rig) -> list[Suite]:
    readings = await source.readings("suites")
    return [reading for reading in readings if isinstance(reading, Suite)]


def with_runs(*runs: dict[str, Any]) -> dict[str, Any]:
    """Make a list of one suite, id 2, with these runs."""
    suites = fixture("getTestExecutionSuites.ok")
    suites["testExecutionSuitesArray"] = suites["testExecutionSuitesArray"][:1]
    suites["testExecutionSuitesArray"][0]["testRunResultsArray"] = list(runs)
    return dict(suites)


def run(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "testRunId": number,
        "executionState": 2,
        "testRunStartTimestamp": number * 100_000,
        "testRunLastUpdatedTimestamp": number * 100_000 + 5_000,
        "numTestjobTemplatesToExecute": 3,
        "numTestjobTemplatesExecutionPassed": 3,
        "numTestjobTemplatesExecutionFailed": 0,
        **fields,
    }


async def test_exposes_the_documented_suite() -> None:
    """The printed example becomes exactly these samples."""
    _, second = await suites_of(rig())

    own = 'suite_id="3",suite="Second Suite Long Run"'
    expected: dict[str, float] = {
        f"suite_healthy{{{own}}}": 1,
        f"suite_jobs{{{own}}}": 2,
        f"suite_running{{{own}}}": 0,
        f"suite_runs{{{own}}}": 3,
        f"suite_last_run_passed{{{own}}}": 1,
        f'suite_last_run_jobs{{{own},result="passed"}}': 2,
        f'suite_last_run_jobs{{{own},result="failed"}}': 0,
        f'suite_last_run_jobs{{{own},result="not_executed"}}': 0,
        f'suite_last_run_sessions{{{own},result="passed"}}': 43,
        f'suite_last_run_sessions{{{own},result="failed"}}': 0,
        f'suite_last_run_samples{{{own},result="passed"}}': 43,
        f'suite_last_run_samples{{{own},result="failed"}}': 0,
        f"suite_last_run_session_mean_seconds{{{own}}}": 0.1,
        f"suite_last_run_max_users{{{own}}}": 4,
        f"suite_last_run_max_pending_samples{{{own}}}": 3,
        f"suite_last_run_state_code{{{own}}}": 2,
        f"suite_last_run_start_timestamp_seconds{{{own}}}": 1699717843.777,
        f"suite_last_run_end_timestamp_seconds{{{own}}}": 1699717905.674,
        f"suite_last_run_duration_seconds{{{own}}}": 61.897,
    }
    shown = exposed(second)
    assert expected.keys() == shown.keys()
    assert expected == pytest.approx(shown)


async def test_reads_a_failed_run_and_a_suite_that_never_ran() -> None:
    """Failed jobs fail the run, whatever its state code; without a run there is no verdict."""
    first, second = await suites_of(rig("failed_and_never_run"))

    assert first.last_run is not None
    assert ("2", False, 2.0) == (
        first.last_run.run_id,
        first.last_run.passed,
        first.last_run.state_code,
    )
    assert {"passed": 2, "failed": 1, "not_executed": 0} == first.last_run.jobs
    assert (False, None, 0.0, False) == (
        second.healthy,
        second.last_run,
        second.runs,
        second.running,
    )


async def test_tells_the_run_in_flight_from_the_last_one() -> None:
    """While a suite runs, its newest unfinished run is the current one."""
    first, second = await suites_of(rig("running_inferred", running(2)))

    assert first.current_run is not None
    assert first.last_run is not None
    assert (True, "2", "1") == (first.running, first.current_run.run_id, first.last_run.run_id)
    assert (None, None, None) == (
        first.current_run.passed,
        first.current_run.end_timestamp_seconds,
        first.current_run.duration_seconds,
    )
    assert (False, None) == (second.running, second.current_run)


async def test_takes_every_run_of_a_resting_suite_for_finished() -> None:
    """The state codes are not documented, so a suite that does not run has no run in flight."""
    (suite,) = await suites_of(rig(with_runs(run(1), run(2, executionState=7))))

    assert suite.last_run is not None
    assert ("2", 7.0, None) == (
        suite.last_run.run_id,
        suite.last_run.state_code,
        suite.current_run,
    )


@pytest.mark.parametrize("archived", [False, True])
async def test_keeps_a_failed_run_while_the_next_is_in_flight(archived: bool) -> None:
    """Its state may be any, and its alert must not end because somebody tries again.

    The run in flight may have results already, or not yet.
    """
    failed = run(2, executionState=3, numTestjobTemplatesExecutionFailed=1)
    source = rig(with_runs(run(1), failed))
    await suites_of(source)
    runs = [run(1), failed, *([run(3, executionState=1)] if archived else [])]
    source.portal.script |= {"getTestExecutionSuites": with_runs(*runs), _RUNNING: running(2)}

    (suite,) = await suites_of(source)

    assert suite.last_run is not None
    assert (True, "2", False) == (suite.running, suite.last_run.run_id, suite.last_run.passed)
    assert ("3" if archived else None) == (suite.current_run and suite.current_run.run_id)


async def test_judges_no_run_that_ends_while_it_is_read() -> None:
    """What ran before or after the list counts as running."""
    asked = iter([running(2), running()])
    suites = with_runs(run(1), run(2, executionState=1))

    (suite,) = await suites_of(rig(suites, lambda _: next(asked)))

    assert suite.last_run is not None
    assert suite.current_run is not None
    assert (True, "1", "2") == (suite.running, suite.last_run.run_id, suite.current_run.run_id)


async def test_judges_no_run_that_starts_while_it_is_read() -> None:
    """A run that shows up after the first question is still in flight."""
    asked = iter([running(), running(2)])

    (suite,) = await suites_of(
        rig(with_runs(run(1), run(2, executionState=1)), lambda _: next(asked))
    )

    assert suite.last_run is not None
    assert (True, "1") == (suite.running, suite.last_run.run_id)


async def test_keeps_ten_finished_runs_newest_first() -> None:
    """The history is in the order of the starts, not of the list."""
    order = [5, 12, 1, 9, 3, 2, 8, 4, 11, 7, 6, 10]

    (suite,) = await suites_of(rig(with_runs(*(run(number) for number in order))))

    assert [str(number) for number in range(12, 2, -1)] == [each.run_id for each in suite.history]
    assert 12.0 == suite.runs
    assert suite.history[0] == suite.last_run


async def test_counts_what_was_not_executed() -> None:
    """It is the rest of what was to be executed, and never less than none."""
    (suite,) = await suites_of(
        rig(
            with_runs(
                run(1, numTestjobTemplatesExecutionPassed=1, numTestjobTemplatesExecutionFailed=1),
                run(2, numTestjobTemplatesExecutionPassed=9),
            )
        )
    )

    newest, oldest = suite.history
    assert (0.0, 1.0) == (newest.jobs["not_executed"], oldest.jobs["not_executed"])


async def test_has_no_mean_without_a_passed_session() -> None:
    """Nothing is divided by zero, and -1 is no quantity."""
    (suite,) = await suites_of(
        rig(
            with_runs(
                run(1, totalSessionsPassed=0, totalSessionsPassedTimeSum=0),
                run(2, totalSessionsPassed=2, totalSessionsPassedTimeSum=-1, maxConcurrentUsers=-1),
                run(3, totalSessionsPassed=-1, totalSessionsPassedTimeSum=1000),
            )
        )
    )

    assert [None] * 3 == [each.session_mean_seconds for each in suite.history]
    assert [None] * 3 == [each.max_users for each in suite.history]


async def test_has_no_negative_duration() -> None:
    """A run whose update lies before its start has no duration."""
    (suite,) = await suites_of(rig(with_runs(run(1, testRunLastUpdatedTimestamp=1))))

    assert suite.last_run is not None
    assert suite.last_run.duration_seconds is None


async def test_has_no_verdict_without_counts() -> None:
    """A run of which nothing is known passed or failed nothing."""
    (suite,) = await suites_of(rig(with_runs({"testRunId": 4})))

    assert SuiteRun(run_id="4") == suite.last_run


async def test_keeps_the_first_of_two_with_the_same_id() -> None:
    """A duplicate and a suite without an id are surprises."""
    suites = fixture("getTestExecutionSuites.ok")
    again = suites["testExecutionSuitesArray"][0]
    suites["testExecutionSuitesArray"] += [again, {"testExecutionSuite": {}}, {}]
    source = rig(suites)

    assert ["2", "3"] == [suite.suite_id for suite in await suites_of(source)]
    assert (1, 2) == (source.surprises("type"), source.surprises("missing_field"))


async def test_tells_nothing_when_it_is_unknown_what_runs() -> None:
    """Without the second answer a run could be judged half-done."""
    asked = iter([running(), reply(b"", 502)])

    with pytest.raises(PollError):
        await rig("ok", lambda _: next(asked)).source.poll("suites")


async def test_watches_what_the_filters_say() -> None:
    """Excluded suites are not shown."""
    source = Rig({"getTestExecutionSuites": "ok", _RUNNING: "none"}, include={"suites": "First.*"})

    assert ["2"] == [suite.suite_id for suite in await suites_of(source)]
