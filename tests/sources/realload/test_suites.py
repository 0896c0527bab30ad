from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import PollError
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Outcome, Suite, SuiteRun
from tests.support.realload import Rig, Script, exposed, fixture, reply


_RUNNING = "getCurrentlyRunningTestExecutionSuiteIds"

LEVELS = ("warn", "error", "fatal")

#: The time after which a run that does not move is over: 2 minutes and two intervals.
QUIET_SECONDS = 240


def running(*ids: int | str) -> dict[str, Any]:
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


def counted(number: int, planned: Any, passed: Any, failed: Any, **fields: Any) -> dict[str, Any]:
    """Make a run with these counts of jobs; `None` is a count that is missing."""
    counts = {"ToExecute": planned, "ExecutionPassed": passed, "ExecutionFailed": failed}
    made = run(number, **fields)
    for name, count in counts.items():
        made[f"numTestjobTemplates{name}"] = count
        if count is None:
            del made[f"numTestjobTemplates{name}"]
    return made


def at(source: Rig, ago: float = 0.0) -> int:
    """Return a time before now, as the portal writes it."""
    return int((source.time.unix - ago) * 1000)


def lists(source: Rig, *runs: dict[str, Any], now: tuple[int | str, ...] = ()) -> None:
    """Set the portal's list of runs of suite 2, and its list of running suites."""
    source.portal.script |= {"getTestExecutionSuites": with_runs(*runs), _RUNNING: running(*now)}


def verdict(suite: Suite) -> tuple[str | None, Outcome | None, bool | None]:
    """Return the newest finished run with its outcome, and the verdict."""
    last = suite.last_run
    return last.run_id if last else None, last.outcome if last else None, suite.last_run_passed


def in_flight(suite: Suite) -> str | None:
    """Return the run in flight, of which nothing may be judged."""
    current = suite.current_run
    assert current is None or (current.outcome is None and suite.running)
    return current.run_id if current else None


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
        **{f'suite_last_run_log_events{{{own},level="{level}"}}': 0 for level in LEVELS},
        **{
            f'suite_last_run_outcome{{{own},outcome="{outcome}"}}': outcome == "passed"
            for outcome in Outcome
        },
    }
    for job, seconds in (("493179849", 33.899), ("1040705161", 34.002)):
        labels = f'{own},testjob_id="{job}",testjob="Simple Test 2VU Long Run"'
        expected |= {
            f'suite_last_run_testjob_samples{{{labels},result="passed"}}': 22,
            f'suite_last_run_testjob_samples{{{labels},result="failed"}}': 0,
            f"suite_last_run_testjob_duration_seconds{{{labels}}}": seconds,
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
    """A failed run must stay the verdict while the next run is in flight.

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
    """A run must count as running if it ran before or after the list was read."""
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
    assert suite.last_run is not None
    assert "12" == suite.last_run.run_id


async def test_counts_what_was_not_executed() -> None:
    """Jobs not executed must be the rest of those planned, and never negative."""
    (suite,) = await suites_of(rig(with_runs(counted(1, 3, 1, 1), counted(2, 3, 9, 0))))

    newest, oldest = suite.history
    assert (0.0, 1.0) == (newest.jobs["not_executed"], oldest.jobs["not_executed"])


async def test_has_no_mean_without_a_passed_session() -> None:
    """Without a passed session, or with -1, the mean must be unknown."""
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
    """A run whose update is before its start must have no duration."""
    (suite,) = await suites_of(rig(with_runs(run(1, testRunLastUpdatedTimestamp=1))))

    assert suite.last_run is not None
    assert suite.last_run.duration_seconds is None


async def test_has_no_verdict_without_counts() -> None:
    """A run of which nothing is known passed or failed nothing."""
    (suite,) = await suites_of(rig(with_runs({"testRunId": 4, "executionState": 2})))

    assert (SuiteRun(run_id="4", outcome=Outcome.NO_VERDICT, state_code=2.0),) == suite.history
    assert suite.last_run_passed is None


async def test_keeps_the_first_of_two_with_the_same_id() -> None:
    """A duplicate and a suite without an id are surprises."""
    suites = fixture("getTestExecutionSuites.ok")
    again = suites["testExecutionSuitesArray"][0]
    suites["testExecutionSuitesArray"] += [again, {"testExecutionSuite": {}}, {}]
    source = rig(suites)

    assert ["2", "3"] == [suite.suite_id for suite in await suites_of(source)]
    assert (1, 2) == (source.surprises("type"), source.surprises("missing_field"))


async def test_tells_nothing_when_it_is_unknown_what_runs() -> None:
    """Without the list of running suites, the poll must fail."""
    asked = iter([running(), reply(b"", 502)])

    with pytest.raises(PollError):
        await rig("ok", lambda _: next(asked)).source.poll("suites")


async def test_watches_what_the_filters_say() -> None:
    """Excluded suites are not shown."""
    source = Rig({"getTestExecutionSuites": "ok", _RUNNING: "none"}, include={"suites": "First.*"})

    assert ["2"] == [suite.suite_id for suite in await suites_of(source)]


@pytest.mark.parametrize(
    ("counts", "outcome", "passed"),
    [
        ((3, 1, 0), Outcome.INCOMPLETE, False),
        ((3, 0, 0), Outcome.INCOMPLETE, False),
        ((0, 0, 0), Outcome.NO_VERDICT, None),
        ((3, 3, 0), Outcome.PASSED, True),
        ((1, 1, 0), Outcome.PASSED, True),
        ((3, 2, 1), Outcome.FAILED, False),
        ((3, 0, 1), Outcome.FAILED, False),
        ((0, 0, 1), Outcome.FAILED, False),
        ((None, None, 2), Outcome.FAILED, False),
        ((3, None, 0), Outcome.NO_VERDICT, None),
        ((3, -1, 0), Outcome.NO_VERDICT, None),
        ((3, "3", 0), Outcome.NO_VERDICT, None),
        ((3, 3, None), Outcome.NO_VERDICT, None),
        ((3, 1, None), Outcome.NO_VERDICT, None),
        ((None, 3, 0), Outcome.NO_VERDICT, None),
        ((-1, 3, 0), Outcome.NO_VERDICT, None),
        ((None, None, None), Outcome.NO_VERDICT, None),
    ],
)
async def test_judges_a_run_by_its_counts(
    counts: tuple[Any, Any, Any], outcome: Outcome, passed: bool | None
) -> None:
    """A run must have passed only if all its jobs were executed and none failed."""
    (suite,) = await suites_of(rig(with_runs(counted(7, *counts))))

    assert ("7", outcome, passed) == verdict(suite)
    assert in_flight(suite) is None


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [
        ((3, 4, 0), Outcome.NO_VERDICT),
        ((0, 1, 0), Outcome.NO_VERDICT),
        ((3, 3, 1), Outcome.FAILED),
    ],
)
async def test_does_not_believe_impossible_counts(
    counts: tuple[int, int, int], outcome: Outcome
) -> None:
    """More executed jobs than planned must not make a pass, and count as a surprise."""
    source = rig(with_runs(counted(1, *counts)))

    (suite,) = await suites_of(source)

    assert ("1", outcome, outcome.passed) == verdict(suite)
    assert 1 == source.surprises("type")


async def test_a_run_stopped_by_hand_ends_no_failure() -> None:
    """A run that was stopped by hand must be incomplete, and not end the failure before it."""
    source = rig(with_runs(counted(2, 3, 2, 1), counted(3, 3, 1, 0)))

    (suite,) = await suites_of(source)

    assert ("3", Outcome.INCOMPLETE, False) == verdict(suite)


async def test_the_verdict_is_that_of_the_newest_run_that_has_one() -> None:
    """Runs without a verdict must be passed over, however many there are."""
    source = rig(
        with_runs(
            counted(1, 3, 3, 0),
            counted(2, 3, 2, 1),
            *(counted(number, 0, 0, 0) for number in range(3, 20)),
        )
    )

    (suite,) = await suites_of(source)

    assert ("19", Outcome.NO_VERDICT, False) == verdict(suite)


async def test_a_run_is_in_flight_before_its_suite_is_listed_as_running() -> None:
    """A run must be in flight by its state alone, before the running list names its suite."""
    source = rig()
    listed = counted(1, 3, 3, 0), counted(
        2, 3, 0, 0, executionState=1, testRunStartTimestamp=at(source),
        testRunLastUpdatedTimestamp=at(source),
    )  # fmt: skip
    lists(source, *listed)
    (early,) = await suites_of(source)
    source.time.shift(60)
    lists(source, *listed, now=(2,))

    (later,) = await suites_of(source)

    for suite in (early, later):
        assert ("1", Outcome.PASSED, True) == verdict(suite)
        assert ("2", True) == (in_flight(suite), suite.running)


def failed_before(source: Rig, ago: float, **fields: Any) -> dict[str, Any]:
    """Make a run 2 that failed some time ago with a state that is not known."""
    times = {
        "testRunStartTimestamp": at(source, ago + 60),
        "testRunLastUpdatedTimestamp": at(source, ago),
    }
    return counted(2, 3, 2, 1, executionState=3, **times, **fields)


async def test_a_failure_stays_while_the_next_run_has_no_results_yet() -> None:
    """While the next run has no results yet, the failure before it must stay."""
    source = rig()
    lists(source, counted(1, 3, 3, 0), failed_before(source, 250), now=(2,))

    (suite,) = await suites_of(source)

    assert ("2", Outcome.FAILED, False) == verdict(suite)
    assert (None, True) == (in_flight(suite), suite.running)


async def test_a_failure_stays_while_the_next_run_is_listed_by_its_state_only() -> None:
    """While the running list does not name the suite yet, the failure before must stay."""
    source = rig()
    third = counted(
        3, 3, 0, 0, executionState=1, testRunStartTimestamp=at(source, 2),
        testRunLastUpdatedTimestamp=at(source, 2),
    )  # fmt: skip
    lists(source, counted(1, 3, 3, 0), failed_before(source, 250), third)

    (suite,) = await suites_of(source)

    assert ("2", Outcome.FAILED, False) == verdict(suite)
    assert ("3", True) == (in_flight(suite), suite.running)


@pytest.mark.parametrize(("ago", "over"), [(239, False), (240, False), (241, True)])
async def test_a_run_of_unknown_state_is_over_when_it_is_old(ago: float, over: bool) -> None:
    """Two minutes and two intervals after its last update, if its suite is not listed."""
    source = rig()
    lists(source, counted(1, 3, 3, 0), failed_before(source, ago))

    (suite,) = await suites_of(source)

    assert (suite.last_run_passed is False, suite.running) == (over, not over)


async def test_a_longer_interval_takes_longer() -> None:
    """A run is given two polls to move."""
    source = Rig(tasks={"suites": "5m"})
    lists(source, failed_before(source, 700))

    (suite,) = await suites_of(source)

    assert "2" == in_flight(suite)


@pytest.mark.parametrize("state", [1, 3, None])
async def test_a_run_that_does_not_move_is_over(state: int | None) -> None:
    """Even if its times are unknown, or lie in the future of our clock."""
    for updated in (None, 4_000_000_000_000):
        source = rig()
        stuck = counted(1, 3, 3, 0, executionState=state, testRunLastUpdatedTimestamp=updated)
        stuck["testRunStartTimestamp"] = updated
        lists(source, stuck)
        (fresh,) = await suites_of(source)
        source.time.shift(QUIET_SECONDS)
        (still,) = await suites_of(source)
        source.time.shift(1)

        (quiet,) = await suites_of(source)

        assert ["1", "1", None] == [in_flight(suite) for suite in (fresh, still, quiet)]
        assert ("1", Outcome.PASSED, True) == verdict(quiet)


async def test_a_run_that_moves_is_in_flight_whatever_the_clocks_say() -> None:
    """Seen by a clock that is an hour ahead every run is old; that its numbers move counts."""
    source = rig()
    first = counted(1, 3, 2, 1)
    moving = {"executionState": 1, "testRunStartTimestamp": at(source, 3700)}
    lists(
        source, first, counted(2, 3, 0, 0, testRunLastUpdatedTimestamp=at(source, 3600), **moving)
    )
    await suites_of(source)
    source.time.shift(60)
    lists(
        source, first, counted(2, 3, 1, 0, testRunLastUpdatedTimestamp=at(source, 3600), **moving)
    )

    (suite,) = await suites_of(source)

    assert "2" == in_flight(suite)
    assert ("1", Outcome.FAILED, False) == verdict(suite)


async def test_an_incomplete_run_stays_so_while_the_next_has_no_results_yet() -> None:
    """An incomplete run must stay the verdict while the next one has no results yet."""
    source = rig()
    stopped = counted(2, 3, 1, 0, executionState=5)
    lists(source, counted(1, 3, 3, 0), stopped)
    await suites_of(source)
    lists(source, counted(1, 3, 3, 0), stopped, now=(2,))

    (suite,) = await suites_of(source)

    assert ("2", Outcome.INCOMPLETE, False) == verdict(suite)
    assert (None, True) == (in_flight(suite), suite.running)


async def test_a_shown_failure_stays_although_the_run_goes_on() -> None:
    """A run with a failed job can only end as failed."""
    source = rig()
    fields = {"executionState": 1, "testRunStartTimestamp": 1_000}
    lists(source, counted(2, 3, 1, 1, **fields))
    (before,) = await suites_of(source)
    lists(source, counted(2, 3, 2, 1, **fields), now=(2,))

    (after,) = await suites_of(source)

    assert [("2", Outcome.FAILED, False)] * 2 == [verdict(before), verdict(after)]


async def test_a_run_with_a_failed_job_is_in_flight_while_its_suite_is_listed() -> None:
    """A run with a failed job must be in flight while its suite is listed as running."""
    source = rig()
    long = {"executionState": 1, "testRunLastUpdatedTimestamp": at(source, 600)}
    lists(source, counted(1, 5, 5, 0), counted(2, 5, 2, 1, **long), now=(2,))
    (early,) = await suites_of(source)
    source.time.shift(3600)

    (later,) = await suites_of(source)

    for suite in (early, later):
        assert ("1", Outcome.PASSED, True) == verdict(suite)
        assert ("2", True) == (in_flight(suite), suite.running)


async def test_ids_may_be_text() -> None:
    """A portal that writes its numbers in quotes has the same suites and runs."""
    source = rig()
    runs = [counted(number, 3, 3 - number % 2, number % 2) for number in (9, 10)]
    for run in runs:
        run["testRunId"] = str(run["testRunId"])
        run["testRunStartTimestamp"] = None
    lists(source, *runs, now=("2",))
    listed: Any = source.portal.script["getTestExecutionSuites"]
    listed["testExecutionSuitesArray"][0]["testExecutionSuite"]["testExecutionSuiteId"] = "2"

    (suite,) = await suites_of(source)

    assert ("2", ("10", Outcome.PASSED, True)) == (suite.suite_id, verdict(suite))
    assert suite.running


async def test_a_completed_run_is_over_although_its_suite_runs() -> None:
    """The next run may have no results yet."""
    source = rig()
    lists(source, counted(1, 3, 3, 0), counted(2, 3, 2, 1), now=(2,))

    (suite,) = await suites_of(source)

    assert ("2", Outcome.FAILED, False) == verdict(suite)
    assert (None, True) == (in_flight(suite), suite.running)


async def test_a_suite_that_runs_for_the_first_time_has_no_verdict() -> None:
    """A suite in its first run must have no verdict."""
    source = rig()
    lists(source, now=(2,))

    (suite,) = await suites_of(source)

    assert (None, None, None) == verdict(suite)
    assert (None, True) == (in_flight(suite), suite.running)


async def test_runs_without_a_start_are_in_the_order_of_their_numbers() -> None:
    """Runs without a start time must be ordered by number."""
    source = rig(with_runs(counted(1, 3, 3, 0), counted(2, 3, 2, 1, testRunStartTimestamp="x")))

    (suite,) = await suites_of(source)

    assert ("2", Outcome.FAILED, False) == verdict(suite)


async def test_lists_all_suites() -> None:
    """A poll must have the complete list, so that an empty one is doubted."""
    poll = await rig().source.poll("suites")

    assert (Kind.SUITE,) == poll.inventory


class TestPlace:
    async def test_is_an_agent_or_a_cluster(self) -> None:
        """A suite's place must be the id of its default agent or cluster."""
        found = await suites_of(rig())

        assert [("145", ""), ("", "27")] == [(each.agent_id, each.cluster_id) for each in found]

    @pytest.mark.parametrize(
        ("place", "surprises"),
        [
            ("x-145", 0),
            ("145", 0),
            ("m145", 0),
            ("m-", 0),
            ("c-", 0),
            ("", 0),
            (None, 0),
            (145, 1),
            (["m-145"], 1),
        ],
    )
    async def test_is_neither(self, place: Any, surprises: int) -> None:
        """A place that cannot be read must be left out, and the suite be kept."""
        suites = with_runs(run(1))
        info = suites["testExecutionSuitesArray"][0]["testExecutionSuite"]
        info["topExecuteOnMeasuringAgentOrClusterId"] = place
        source = rig(reply(suites))

        (found,) = await suites_of(source)

        assert ("", "", surprises) == (
            found.agent_id,
            found.cluster_id,
            source.surprises("type"),
        )

    async def test_is_not_told(self) -> None:
        """A suite without a place must have none."""
        suites = with_runs(run(1))
        del suites["testExecutionSuitesArray"][0]["testExecutionSuite"][
            "topExecuteOnMeasuringAgentOrClusterId"
        ]

        (found,) = await suites_of(rig(reply(suites)))

        assert ("", "") == (found.agent_id, found.cluster_id)
