"""Details of a suite's newest finished run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from exporter.conformance.front import line
from exporter.conformance.trial import Page, Trial, vendor_samples
from exporter.errors import BlockedError, CallError, Reason
from exporter.fleet.readings import Reading, Suite, SuiteJob, SuiteRun
from tests.support.candidates import CANDIDATES
from tests.support.realload import Rig, Script, fixture, reply
from tests.support.restart import Restarts
from tests.support.state import LastingState


if TYPE_CHECKING:
    from pathlib import Path


DETAIL = "getTestExecutionSuiteTestRunResultDetail"
RUNNING = "getCurrentlyRunningTestExecutionSuiteIds"
NAME = "Simple Test 2VU Long Run"

#: The two jobs of the vendor's example.
JOBS = (
    SuiteJob(
        testjob_id="493179849",
        testjob=NAME,
        samples={"passed": 22.0, "failed": 0.0},
        duration_seconds=1699727003.517 - 1699726969.618,
    ),
    SuiteJob(
        testjob_id="1040705161",
        testjob=NAME,
        samples={"passed": 22.0, "failed": 0.0},
        duration_seconds=1699727003.517 - 1699726969.515,
    ),
)
NO_EVENTS = {"warn": 0.0, "error": 0.0, "fatal": 0.0}


def listed(*suites: tuple[int, int], **fields: Any) -> dict[str, Any]:
    """List suites, each with one run, by their ids."""
    items = [
        {
            "testExecutionSuite": {"testExecutionSuiteId": suite},
            "testRunResultsArray": [
                {
                    "testRunId": run,
                    "executionState": 2,
                    "testRunStartTimestamp": run * 100_000,
                    "testRunLastUpdatedTimestamp": run * 100_000 + 5_000,
                    "numTestjobTemplatesToExecute": 2,
                    "numTestjobTemplatesExecutionPassed": 2,
                    "numTestjobTemplatesExecutionFailed": 0,
                    **fields,
                }
            ],
        }
        for suite, run in suites
    ]
    return {"testExecutionSuitesArray": items, "isError": False}


def rig(detail: Script | None = None, suites: Script | None = None, **settings: Any) -> Rig:
    """Make a portal with run 5 of suite 3, of which the printed example is."""
    script: dict[str, Script] = {
        "getTestExecutionSuites": suites or listed((3, 5)),
        RUNNING: "none",
        **({} if detail is None else {DETAIL: detail}),
    }
    return Rig(script, **settings)


def changed(**fields: Any) -> Any:
    """Make the printed example with other fields of its run."""
    detail = fixture(f"{DETAIL}.ok")
    detail["testRunResultDetail"]["testRunResult"] |= fields
    return detail


def job(element: Any, **fields: Any) -> dict[str, Any]:
    """Make the result of a job."""
    return {"testjobTemplateElementId": element, **fields}


def suite_samples(trial: Trial) -> Page:
    """Return what the page says of suites."""
    samples = vendor_samples(trial.page(), "prod").items()
    return {key: value for key, value in samples if key[0].startswith("loadfleet_suite_")}


async def run_of(source: Rig) -> SuiteRun:
    """Poll, and return the newest finished run of the only suite."""
    (suite,) = await source.readings("suites")
    assert isinstance(suite, Suite)
    assert suite.last_run is not None
    return suite.last_run


def asked(source: Rig) -> list[tuple[int, int]]:
    """Return of which runs the details were asked for, by suite."""
    return [
        (request["testExecutionSuiteId"], request["testRunId"])
        for request in source.portal.requests
        if request["action"] == DETAIL
    ]


class TestContents:
    async def test_reads_the_printed_example(self) -> None:
        """Two jobs of one template, and a log without anything bad."""
        source = rig("ok")

        run = await run_of(source)

        assert JOBS == run.testjobs
        assert NO_EVENTS == run.log_events
        assert [0, 0, 0] == [source.surprises(each) for each in ("type", "enum", "missing_field")]

    async def test_counts_log_events_by_level(self) -> None:
        """Levels 8, 9 and 10 count; an unknown one, and none, are surprises."""
        levels = [4, 7, 8, 8, 9, 10, 10, 10, 11, None]
        log = {"logEntriesArray": [{"logLevel": level} for level in levels]}
        source = rig(changed(executorLog=log))

        run = await run_of(source)

        assert {"warn": 2, "error": 1, "fatal": 3} == run.log_events
        assert (1, 1) == (source.surprises("enum"), source.surprises("missing_field"))

    async def test_an_empty_log_has_no_events(self) -> None:
        """0 is a measurement."""
        run = await run_of(rig(changed(executorLog={"logEntriesArray": []})))

        assert NO_EVENTS == run.log_events

    @pytest.mark.parametrize("log", [None, {}, "x", {"logEntriesArray": None}])
    async def test_without_a_log_nothing_is_known_of_events(self, log: Any) -> None:
        """Absent is absent; the jobs are there nevertheless."""
        run = await run_of(rig(changed(executorLog=log)))

        assert {} == run.log_events
        assert JOBS == run.testjobs

    @pytest.mark.parametrize(
        ("times", "seconds"),
        [
            ((1_000, 9_000, 2_000, 5_500), 3.5),
            ((1_000, 9_000, -1, -1), 8.0),
            ((1_000, 9_000, 2_000, -1), 8.0),
            ((1_000, 9_000, 0, 0), 8.0),
            ((1_000, 9_000, 5_000, 2_000), 8.0),
            ((-1, 9_000, None, 5_000), None),
            ((0, 0, 0, 0), None),
            ((5_000, 5_000, None, None), 0.0),
        ],
    )
    async def test_measures_how_long_a_job_took(
        self, times: tuple[Any, ...], seconds: float | None
    ) -> None:
        """On its machine; for want of that, with its preparation and end."""
        names = ("executionStart", "executionEnd", "jobStart", "jobEnd")
        fields = {f"{name}Timestamp": time for name, time in zip(names, times, strict=True)}

        run = await run_of(rig(changed(testRunTestjobResultArray=[job(1, **fields)])))

        assert (SuiteJob(testjob_id="1", testjob="1", duration_seconds=seconds),) == run.testjobs

    async def test_names_a_job_by_its_template(self) -> None:
        """A job must be named by its own template, the list of templates, or its id."""
        rows = [
            job(1, testjobTemplate={"templateId": 18, "templateName": "own"}),
            job(2, testjobTemplate={"templateId": 18}),
            job(3, testjobTemplate={"templateId": 19}),
            job(4),
        ]

        run = await run_of(rig(changed(testRunTestjobResultArray=rows)))

        assert ["own", NAME, "3", "4"] == [each.testjob for each in run.testjobs]

    async def test_leaves_out_what_the_vendor_did_not_count(self) -> None:
        """-1 and what is missing are no samples."""
        rows = [job(1, totalSamplesPassed=-1, totalSamplesFailed=4), job(2)]

        run = await run_of(rig(changed(testRunTestjobResultArray=rows)))

        assert [{"failed": 4.0}, {}] == [each.samples for each in run.testjobs]

    async def test_shows_each_element_once(self) -> None:
        """A second row of one, and one without an id, are surprises."""
        rows = [job(1, totalSamplesPassed=1), job(1, totalSamplesPassed=2), job(None), job("x")]
        source = rig(changed(testRunTestjobResultArray=rows))

        run = await run_of(source)

        assert [("1", {"passed": 1.0})] == [
            (each.testjob_id, each.samples) for each in run.testjobs
        ]
        assert (2, 2) == (source.surprises("type"), source.surprises("missing_field"))

    @pytest.mark.parametrize(("number", "shown"), [(100, 100), (101, 0)])
    async def test_shows_at_most_a_hundred_jobs(self, number: int, shown: int) -> None:
        """More would be too many series: none then, and a surprise."""
        rows = [job(each) for each in range(1, number + 1)]
        source = rig(changed(testRunTestjobResultArray=rows))

        run = await run_of(source)

        assert shown == len(run.testjobs)
        assert (number > 100) == source.surprises("type")
        assert NO_EVENTS == run.log_events

    @pytest.mark.parametrize(
        ("groups", "surprises"),
        [
            ([(2, 0)], 0),
            ([(1, 0), (1, 0)], 0),
            ([(1, 1)], 1),
            ([(2, 0), (2, 0)], 1),
            ([(None, None)], 0),
            ([(1, 0), (None, None)], 0),
            ([], 0),
        ],
    )
    async def test_is_surprised_by_groups_that_count_differently(
        self, groups: list[tuple[Any, Any]], surprises: int
    ) -> None:
        """The groups' jobs are the run's; the run's own counts are shown."""
        rows = [
            {
                "numTestjobTemplatesExecutionPassed": passed,
                "numTestjobTemplatesExecutionFailed": failed,
            }
            for passed, failed in groups
        ]
        source = rig(changed(testRunExecutionGroupResultArray=rows))

        run = await run_of(source)

        assert {"passed": 2.0, "failed": 0.0, "not_executed": 0.0} == run.jobs
        assert surprises == source.surprises("type")

    @pytest.mark.parametrize(
        "detail",
        [
            changed(testRunId=6),
            changed(testExecutionSuite={"testExecutionSuiteId": 2}),
            changed(testRunTestjobResultArray=[job(1, testRunId=6)]),
            changed(testRunTestjobResultArray=[job(1, testExecutionSuiteId=4)]),
            {"testRunResultDetail": {}, "isError": False},
            {"testRunResultDetail": {"testRunResult": "x"}, "isError": False},
        ],
    )
    async def test_shows_nothing_of_another_run(self, detail: Any) -> None:
        """A detail of another run must be refused, and the summary kept."""
        source = rig(detail)

        poll = await source.source.poll("suites")

        assert [(Reason.DECODE, "3")] == [(each.reason, each.target) for each in poll.failures]
        (suite,) = poll.readings
        assert isinstance(suite, Suite)
        assert suite.last_run is not None
        assert (True, (), {}) == (
            suite.last_run_passed,
            suite.last_run.testjobs,
            suite.last_run.log_events,
        )


class TestCalls:
    async def test_asks_once_for_each_newest_finished_run(self) -> None:
        """A detail must be read once, and kept until a newer run has ended."""
        source = rig()
        before = await run_of(source)
        kept = await run_of(source)
        source.portal.script["getTestExecutionSuites"] = listed((3, 6))

        newer = await run_of(source)

        assert [(3, 5), (3, 6)] == asked(source)
        assert before == kept
        assert ("6", JOBS) == (newer.run_id, newer.testjobs)

    async def test_asks_for_no_run_in_flight(self) -> None:
        """A detail is only whole at the end."""
        source = rig("ok", listed((3, 5), executionState=1))
        source.portal.script[RUNNING] = {"testExecutionSuiteIdArray": [3], "isError": False}

        await source.readings("suites")

        assert [] == asked(source)

    async def test_reads_a_run_anew_that_went_on(self) -> None:
        """A run that goes on must have its detail read again."""
        source = rig("ok")
        await run_of(source)
        source.portal.script["getTestExecutionSuites"] = listed(
            (3, 5), testRunLastUpdatedTimestamp=600_000
        )

        await run_of(source)

        assert [(3, 5)] * 2 == asked(source)

    async def test_a_failed_call_costs_its_own_detail_only(self) -> None:
        """The other suite's is read in the same poll, and the verdicts stand."""
        source = rig(suites=listed((2, 5), (3, 5)))
        fine = source.portal.script[DETAIL]
        assert callable(fine)
        source.portal.script[DETAIL] = lambda request: (
            reply(b"", 502) if request["testExecutionSuiteId"] == 2 else fine(request)
        )

        poll = await source.source.poll("suites")

        assert [(Reason.HTTP_5XX, "2")] == [(each.reason, each.target) for each in poll.failures]
        assert [("2", True, False), ("3", True, True)] == [
            (each.suite_id, each.last_run_passed, bool(each.last_run and each.last_run.testjobs))
            for each in poll.readings
            if isinstance(each, Suite)
        ]

    @pytest.mark.parametrize(
        "answer", [reply(b"", 502), {"isError": True}, CallError(Reason.DECODE, "")]
    )
    async def test_gives_a_detail_up_after_three_calls(self, answer: Any) -> None:
        """A detail must be given up after three failed calls."""
        source = rig(answer)
        failures = []

        for _ in range(5):
            source.time.shift(60)
            failures.append(len((await source.source.poll("suites")).failures))

        assert [1, 1, 1, 0, 0] == failures

    async def test_reads_a_detail_that_failed_before(self) -> None:
        """The second call may succeed."""
        source = rig(reply(b"", 502))
        await source.source.poll("suites")
        source.portal.script[DETAIL] = "ok"

        run = await run_of(source)

        assert JOBS == run.testjobs

    async def test_a_call_that_was_held_back_is_no_try(self) -> None:
        """A call that the guard held back must not count as an attempt to read the detail."""
        source = rig(BlockedError("wait", retry_at=0.0))
        for _ in range(5):
            (failure,) = (await source.source.poll("suites")).failures
            assert Reason.BLOCKED is failure.reason
        source.portal.script[DETAIL] = "ok"

        run = await run_of(source)

        assert JOBS == run.testjobs

    async def test_spreads_many_details_over_polls(self) -> None:
        """After the first start each suite has a newest run that is new."""
        source = rig(suites=listed(*((number, 5) for number in range(1, 26))))
        calls: list[int] = []
        readings: tuple[Reading, ...] = ()

        for _ in range(4):
            readings = await source.readings("suites")
            calls.append(len(asked(source)))

        assert [10, 20, 25, 25] == calls
        assert all(
            isinstance(each, Suite) and each.last_run and each.last_run.testjobs
            for each in readings
        )
        assert len(set(asked(source))) == len(asked(source))

    async def test_failing_details_hold_up_no_others(self) -> None:
        """Details that fail must not keep others from being read."""
        source = rig(suites=listed(*((number, 5) for number in range(1, 16))))
        fine = source.portal.script[DETAIL]
        assert callable(fine)
        source.portal.script[DETAIL] = lambda request: (
            reply(b"", 502) if request["testExecutionSuiteId"] <= 10 else fine(request)
        )
        await source.source.poll("suites")

        poll = await source.source.poll("suites")

        read = {
            each.suite_id
            for each in poll.readings
            if isinstance(each, Suite) and each.last_run and each.last_run.testjobs
        }
        assert {str(number) for number in range(11, 16)} == read

    async def test_a_slow_portal_is_not_asked_on(self) -> None:
        """A slow portal must not be asked for further details in the same poll."""
        source = rig(
            CallError(Reason.TIMEOUT, "late"),
            listed(*((number, 5) for number in range(1, 11))),
            concurrency=2,
        )

        poll = await source.source.poll("suites")

        assert 10 == len(poll.readings)
        assert 2 >= len(poll.failures) >= 1
        assert len(poll.failures) == len(asked(source))

    async def test_a_portal_without_this_action_loses_nothing_else(self) -> None:
        """A portal without this action must fail three polls, and lose nothing else."""
        source = rig({"isError": True}, listed(*((number, 5) for number in range(1, 21))))

        failed = []
        for _ in range(12):
            polling = asyncio.create_task(source.source.poll("suites"))
            await source.time.advance(60)
            assert 20 == len(polling.result().readings)
            failed.append(bool(polling.result().failures))

        assert 3 == sum(failed)
        assert not any(failed[6:])

    async def test_details_are_asked_for_again_after_a_pause(self) -> None:
        """A portal without details must be asked again after an hour."""
        source = rig(reply(b"", 502), listed(*((number, 5) for number in range(1, 41))))
        for _ in range(3):
            await source.source.poll("suites")
        source.portal.script[DETAIL] = "ok"
        before = len(asked(source))

        source.time.shift(3599)
        await source.source.poll("suites")
        paused = len(asked(source))
        source.time.shift(1)
        await source.source.poll("suites")

        assert before == paused
        assert before + 10 == len(asked(source))


class TestRestarts:
    async def test_a_detail_survives(self) -> None:
        """A detail must be kept over a restart."""
        source = rig("ok")
        restarts = Restarts(source, source.time)
        await restarts.poll("suites")

        restarts.restart(down_seconds=60)
        run = await run_of(source)

        assert JOBS == run.testjobs
        assert NO_EVENTS == run.log_events
        assert [(3, 5)] == asked(source)

    async def test_tries_are_counted_on(self) -> None:
        """A restart must not reset the number of failed calls."""
        source = rig(reply(b"", 502))
        restarts = Restarts(source, source.time)

        for _ in range(5):
            await restarts.poll("suites")
            restarts.restart(down_seconds=60)

        assert [(3, 5)] * 3 == asked(source)

    async def test_a_detail_without_its_reading_is_read_again(self) -> None:
        """The memory says that it was read, but not what."""
        source = rig("ok")
        restarts = Restarts(source, source.time)
        await restarts.poll("suites")
        restarts.known = {}

        restarts.restart(down_seconds=60)

        assert JOBS == (await run_of(source)).testjobs

    async def test_a_detail_survives_the_engine(self, tmp_path: Path) -> None:
        """A daemon that finds its state again shows the same and asks for no detail."""
        state = LastingState(lambda: trial.time.unix)
        trial = Trial({"prod": CANDIDATES[0]}, tmp_path, state=state)
        async with trial:
            await trial.poll()
            before = suite_samples(trial)
            trial.time.shift(1)
            trial.time.monotonic = 7.0

            await trial.restart()
            restored = suite_samples(trial)
            await trial.poll()

            assert before == restored == suite_samples(trial)
            assert any("testjob_samples" in name for name, _ in before)
            assert 2 == sum(DETAIL in line(seen) for seen in trial.only.front.seen)

    async def test_an_older_memory_is_no_mistake(self) -> None:
        """A memory from before details must be accepted."""
        source = rig("ok")
        restarts = Restarts(source, source.time)
        restarts.memory["suites"] = b'{"version":1,"rested":{"3":[500000.0,5]}}'

        restarts.restart(down_seconds=60)

        assert JOBS == (await run_of(source)).testjobs


class TestExplain:
    async def test_shows_the_detail(self) -> None:
        """The reply's wanted fields are shown, and no other."""
        explanation = await rig("ok").source.explain("suite", "3")

        detail = explanation.reply[DETAIL]["testRunResultDetail"]
        first, _ = detail["testRunResult"]["testRunTestjobResultArray"]
        assert "<not shown>" == detail["executedByUserNickname"]
        assert "<not shown>" == first["testjobTemplate"]["testjobProperties"]
        assert 493179849 == first["testjobTemplateElementId"]
        assert isinstance(explanation.reading, Suite)
        assert explanation.reading.last_run is not None
        assert JOBS == explanation.reading.last_run.testjobs

    @pytest.mark.parametrize("answer", [reply(b"<html>", 502), CallError(Reason.CONNECT, "")])
    async def test_shows_a_suite_whose_detail_cannot_be_read(self, answer: Any) -> None:
        """The list is answer enough."""
        explanation = await rig(answer).source.explain("suite", "3")

        assert 3 == explanation.reply["testExecutionSuite"]["testExecutionSuiteId"]
        assert isinstance(explanation.reading, Suite)
        assert True is explanation.reading.last_run_passed
