from __future__ import annotations

import httpx
import pytest

from exporter.errors import BlockedError, CallError, PollError, Reason
from exporter.fleet.readings import Outcome, Run, Suite, SuiteRun
from tests.sources.blazemeter.support import (
    BASE,
    LIST,
    Account,
    Bench,
    bench,
    ended_row,
    error,
    exposed,
    ok,
    only,
    readings,
    row,
    status_of,
)


class TestFixtures:
    async def test_reads_a_workspace(self) -> None:
        """Two runs in flight, and five tests with runs of the last 30 days."""
        it = bench()
        it.account.fixture(LIST, "masters_list")
        it.account.status(82000001, "master_status.running")
        it.account.status(82000002, "master_status.booting")
        it.account.fixture("tests/14000001", "test")
        it.account.suites(t14000002="Soak", t14000003="Smoke", t14000004="Explore", t14000006="Up")

        poll = await it.poll("runs")

        assert () == poll.failures
        assert [
            Run(
                run_id="82000001",
                run="Checkout load",
                phase="running",
                suite_id="14000001",
                location="harbor-64f0c2a1b7e3d90012ab34cd,us-east4-a",
                progress_code=100,
                delayed_start=False,
                engines=2,
                engines_planned=2,
                engines_ratio={
                    "pending": 0,
                    "booting": 0,
                    "downloading": 0,
                    "ready": 1,
                    "ended": 0,
                },
                data_available=True,
                start_timestamp_seconds=1760000000,
            ),
            Run(
                run_id="82000002",
                run="Warm-up",
                phase="booting",
                suite_id="14000006",
                location="us-east4-a",
                progress_code=25,
                delayed_start=False,
                engines=1,
                engines_planned=2,
                engines_ratio={
                    "pending": 0,
                    "booting": 0.5,
                    "downloading": 0.5,
                    "ready": 0,
                    "ended": 0,
                },
                data_available=False,
                start_timestamp_seconds=1759999880,
            ),
        ] == readings(poll, Run)
        passed = SuiteRun(
            run_id="82000000",
            outcome=Outcome.PASSED,
            max_users=200,
            start_timestamp_seconds=1759910000,
            end_timestamp_seconds=1759913700,
            duration_seconds=3700,
        )
        suites = {suite.suite_id: suite for suite in readings(poll, Suite)}
        assert {
            "14000001": ("Checkout load", True, True),
            "14000002": ("Soak", False, False),
            "14000003": ("Smoke", False, False),
            "14000004": ("Explore", False, None),
            "14000006": ("Up", True, None),
        } == {
            suite_id: (suite.suite, suite.running, suite.last_run and suite.last_run.passed)
            for suite_id, suite in suites.items()
        }
        assert (
            Suite(
                suite_id="14000001",
                suite="Checkout load",
                running=True,
                last_run=passed,
                last_run_passed=True,
                current_run=SuiteRun(run_id="82000001", start_timestamp_seconds=1760000000),
                history=(passed,),
            )
            == suites["14000001"]
        )
        assert ["82000004", "81999990"] == [run.run_id for run in suites["14000003"].history]

    async def test_exposes_a_suite(self) -> None:
        """The newest finished run counts, beside the one in flight."""
        it = bench()
        it.account.fixture(LIST, "masters_list.total_na")
        it.account.status(82000001, "master_status.running")
        it.account.status(82000002, "master_status.booting")

        suite, _ = readings(await it.poll("runs"), Suite)

        outcomes = ("failed", "incomplete", "aborted", "error", "no_data", "no_verdict")
        assert {
            "suite_running": 1,
            'suite_last_run_outcome{outcome="passed"}': 1,
            **{f'suite_last_run_outcome{{outcome="{outcome}"}}': 0 for outcome in outcomes},
            "suite_last_run_passed": 1,
            "suite_last_run_max_users": 200,
            "suite_last_run_start_timestamp_seconds": 1759910000,
            "suite_last_run_end_timestamp_seconds": 1759913700,
            "suite_last_run_duration_seconds": 3700,
            "suite_current_run_start_timestamp_seconds": 1760000000,
        } == exposed(suite)

    async def test_reads_an_empty_workspace(self) -> None:
        """No runs are no failure."""
        it = bench()
        it.account.fixture(LIST, "masters_list.empty")

        poll = await it.poll("runs")

        assert ((), ()) == (poll.readings, poll.failures)

    async def test_reads_the_documented_sample(self) -> None:
        """The run of the vendor's own example: every sample of its end."""
        it = bench(masters=[12345678], workspaces=[])
        it.time.unix = 1599142800
        it.account.answers["masters/12345678"] = ok(
            {"id": 12345678, "name": "Assertions in V4", "created": 1599139020}
        )
        it.account.status(12345678, "master_status.ended")

        run = await only(it, Run)

        phases = dict.fromkeys(
            (
                "pending",
                "booting",
                "downloading",
                "ready",
                "running",
                "stopping",
                "stuck",
                "unknown",
            ),
            0,
        )
        levels = dict.fromkeys(
            ("debug", "notice", "error", "critical", "alert", "emergency"), 0
        ) | {"info": 75, "warning": 2}
        assert {
            'run_info{location="us-east4-a"}': 1,
            **{f'run_phase{{phase="{phase}"}}': value for phase, value in phases.items()},
            'run_phase{phase="ended"}': 1,
            "run_progress_code": 140,
            'run_outcome{outcome="no_verdict"}': 1,
            "run_delayed_start": 0,
            "run_engines": 1,
            "run_engines_planned": 1,
            "run_engine_errors": 0,
            'run_engines_ratio{phase="pending"}': 0,
            'run_engines_ratio{phase="booting"}': 0,
            'run_engines_ratio{phase="downloading"}': 0,
            'run_engines_ratio{phase="ready"}': 0,
            'run_engines_ratio{phase="ended"}': 1,
            "run_data_available": 1,
            "run_start_timestamp_seconds": 1599139020,
            "run_end_timestamp_seconds": 1599142726,
            'run_phase_duration_seconds{phase="pending"}': 54,
            'run_phase_duration_seconds{phase="downloading"}': 23,
            'run_phase_duration_seconds{phase="ready"}': 20,
            'run_phase_duration_seconds{phase="running"}': 3588,
            'run_phase_duration_seconds{phase="stopping"}': 15,
            **{f'run_events{{level="{level}"}}': value for level, value in levels.items()},
            "run_exit_code": 0,
        } == exposed(run)

    async def test_reads_a_terminating_run(self) -> None:
        """TERMINATING is no end and no verdict."""
        it = bench(row(82000001))
        it.account.status(82000001, "master_status.terminating")

        run = await only(it, Run)

        assert ("stopping", 130, None) == (run.phase, run.progress_code, run.passed)
        assert {} == run.events
        assert "masters/82000001/status+events" not in it.account.sent

    async def test_reads_a_failed_run(self) -> None:
        """An engine that left with 1 shows in exit code and events."""
        it = bench(ended_row(82000003, reportStatus="fail"))
        it.account.status(82000003, "master_status.ended.error_events")

        run = await only(it, Run)

        assert ("ended", 1, False) == (run.phase, run.exit_code, run.passed)
        assert (1, 1, 1) == (run.events["critical"], run.events["error"], run.events["notice"])

    async def test_reads_a_run_without_data(self) -> None:
        """A run that ended without data must have neither data nor an exit code."""
        it = bench(ended_row(82000004, reportStatus="noData"))
        it.account.status(82000004, "master_status.ended.no_data")

        run = await only(it, Run)

        assert (False, None, False) == (run.data_available, run.exit_code, run.passed)

    async def test_reads_an_old_spelling(self) -> None:
        """An unlisted name falls to its code, and what is missing is absent."""
        it = bench(row(1))
        it.account.fixture("masters/1/status", "master_status.unlisted_status")

        run = await only(it, Run)

        assert ("running", 100, 1) == (run.phase, run.progress_code, run.engines)
        assert run.data_available is None
        assert {} == run.engines_ratio
        assert it.surprises("enum") == 1


class TestListing:
    async def test_turns_pages_until_one_is_short(self) -> None:
        """Full pages must be followed by the next; without a total, a short page is the last."""
        it = bench()
        pages = [[ended_row(page * 50 + n + 1) for n in range(50)] for page in range(2)]
        it.account.answers[LIST] = ok(pages[0], total="n/a", limit=50)
        it.account.answers[f"{LIST}&skip=50"] = ok(pages[1][:7], total="n/a", limit=50)

        await it.poll("runs")

        listed = [key for key in it.account.sent if key.startswith(LIST)]
        assert [LIST, f"{LIST}&skip=50"] == listed

    async def test_believes_a_smaller_page(self) -> None:
        """A vendor that gives 10 rows where 50 were asked for says so in `limit`."""
        it = bench()
        it.account.answers[LIST] = ok([row(n) for n in range(1, 11)], limit=10)
        it.account.answers[f"{LIST}&skip=10"] = ok([row(11)], limit=10)

        await it.poll("runs")

        assert f"{LIST}&skip=10" in it.account.sent

    async def test_that_does_not_turn_pages_is_a_failure(self) -> None:
        """A page of ids that were there before shows that the server ignores `skip`."""
        it = bench()
        it.account.answers[LIST] = ok([ended_row(n) for n in range(1, 51)], total=63)
        it.account.answers[f"{LIST}&skip=50"] = it.account.answers[LIST]

        poll = await it.poll("runs")

        assert [("200001", Reason.API_ERROR)] == [(f.target, f.reason) for f in poll.failures]
        assert 1 == it.surprises("incomplete_list")
        assert [LIST, f"{LIST}&skip=50"] == [key for key in it.account.sent if key.startswith(LIST)]
        assert "Load" == readings(poll, Suite)[0].suite

    async def test_that_is_shorter_than_its_total_is_a_failure(self) -> None:
        """Three runs of five that the list has by its own count."""
        it = bench()
        it.account.answers[LIST] = ok([ended_row(n) for n in range(1, 4)], total=5)
        it.account.answers[f"{LIST}&skip=3"] = ok([], total=5)

        poll = await it.poll("runs")

        assert ["200001"] == [failure.target for failure in poll.failures]
        assert poll.cut
        assert 1 == it.surprises("incomplete_list")

    async def test_steps_by_what_it_was_given(self) -> None:
        """A server that caps its pages without a word is read on until the total is reached."""
        it = bench()
        it.account.answers[LIST] = ok([ended_row(n) for n in range(1, 11)], total=13)
        it.account.answers[f"{LIST}&skip=10"] = ok([ended_row(n) for n in (11, 12, 13)], total=13)

        poll = await it.poll("runs")

        assert () == poll.failures
        assert "13" == readings(poll, Suite)[0].history[0].run_id

    async def test_ends_where_everything_is_old(self) -> None:
        """Later pages of runs that all ended before the last poll are not read again."""
        it = bench()
        old = [ended_row(n, created=BASE - 8000, ended=BASE - 7000) for n in range(1, 51)]
        it.account.answers[LIST] = ok(old)
        it.account.answers[f"{LIST}&skip=50"] = ok([])
        await it.poll("runs")
        assert f"{LIST}&skip=50" in it.account.sent

        it.time.shift(60)
        await it.poll("runs")

        assert [LIST] == it.account.sent

    async def test_is_bounded(self) -> None:
        """A list without an end is left after 20 pages."""
        it = bench()
        account = it.account

        def endless(request: httpx.Request) -> httpx.Response:
            first = int(request.url.params["skip"]) + 1
            return ok([row(n, ended=BASE - 4000) for n in range(first, first + 50)])

        account.answers[LIST] = endless
        for page in range(1, 30):
            account.answers[f"{LIST}&skip={page * 50}"] = endless

        await it.poll("runs")

        assert sum(key.startswith(LIST) for key in account.sent) == 20

    async def test_asks_for_the_newest_first(self) -> None:
        """The query sorts by change, 50 a page."""
        it = bench()

        await it.poll("runs")

        params = dict(it.account.requests[-1].url.params)
        assert {"workspaceId": "200001", "limit": "50", "skip": "0", "sort[]": "-updated"} == params

    async def test_of_one_workspace_may_fail(self) -> None:
        """The others are read nevertheless."""
        it = bench(row(1), workspaces=[200001, 200002])
        it.account.answers["masters/1/status"] = ok(status_of(100))

        poll = await it.poll("runs")

        assert ["200002"] == [failure.target for failure in poll.failures]
        assert len(readings(poll, Run)) == 1

    async def test_that_fails_too_long_takes_the_tests_along(self) -> None:
        """When a workspace cannot be read for too long, its suites must expire."""
        it = bench(ended_row(1, ended=BASE - 4000), workspaces=[200001, 200002])
        it.account.answers["masters?workspaceId=200002"] = ok([])
        assert len(readings(await it.poll("runs"), Suite)) == 1
        it.account.answers[LIST] = httpx.Response(500)

        it.time.shift(170)
        kept = readings(await it.poll("runs"), Suite)
        it.time.shift(20)
        gone = readings(await it.poll("runs"), Suite)

        assert (1, 0) == (len(kept), len(gone))


class TestFollowing:
    async def test_asks_without_events_in_flight(self) -> None:
        """A run in flight must cost one call, without events."""
        it = bench(row(1), row(2))
        it.account.answers["masters/1/status"] = ok(status_of(100))
        it.account.answers["masters/2/status"] = ok(status_of(25))

        await it.poll("runs")

        statuses = ["masters/1/status", "masters/2/status"]
        assert ["user", LIST, "tests/7", *statuses] == it.account.sent

    async def test_goes_on_when_the_list_forgets_the_run(self) -> None:
        """A run once seen in flight is followed until it is over."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(100))
        await it.poll("runs")
        it.account.answers[LIST] = ok([])

        it.time.shift(60)
        run = await only(it, Run)

        assert "running" == run.phase

    async def test_asks_for_the_events_once(self) -> None:
        """At 140 the events are fetched, with all levels, and never again."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(100))
        await it.poll("runs")
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))
        it.account.answers["masters/1"] = ok(ended_row(1))

        it.time.shift(60)
        run = await only(it, Run)

        asked = [key for key in it.account.sent if "status" in key]
        assert ["masters/1/status", "masters/1/status+events", "masters/1/ci-status"] == asked
        (query,) = [each.url.params for each in it.account.requests if "level" in each.url.params]
        assert "DEBUG" == query["level"]
        assert "ended" == run.phase
        await it.poll("runs")
        assert not any("status" in key for key in it.account.sent)

    async def test_tries_the_events_again(self) -> None:
        """When only the events cannot be read, the end is known and they are asked for again."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = httpx.Response(500)
        poll = await it.poll("runs")
        assert [Reason.HTTP_5XX] == [failure.reason for failure in poll.failures]
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))

        it.time.shift(60)
        run = await only(it, Run)

        assert ["masters/1/status+events"] == [k for k in it.account.sent if "/status" in k]
        assert 0 == run.events["info"]

    async def test_shows_a_short_run(self) -> None:
        """A run that began and ended between two polls is shown with its end."""
        it = bench(ended_row(1))
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))

        run = await only(it, Run)

        assert ("ended", True, BASE + 50) == (run.phase, run.passed, run.end_timestamp_seconds)

    async def test_keeps_a_run_for_a_while(self) -> None:
        """After its end a run is shown for `run_linger`, then no more, and not asked about."""
        it = bench(ended_row(1), run_linger="30m")
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))
        await it.poll("runs")

        it.time.shift(1700)
        shown = readings(await it.poll("runs"), Run)
        it.time.shift(120)
        gone = readings(await it.poll("runs"), Run)

        assert (1, 0) == (len(shown), len(gone))
        await it.poll("runs")
        assert [LIST] == it.account.sent

    async def test_does_not_take_a_finished_run_up_again(self) -> None:
        """A list that never has the end must not bring an ended run back."""
        it = bench(row(1), run_linger="10m")
        it.account.answers["masters/1/status"] = ok(status_of(150))
        it.account.answers["masters/1/status+events"] = ok(status_of(150, events=[]))
        await it.poll("runs")
        it.time.shift(700)
        await it.poll("runs")

        poll = await it.poll("runs")

        assert [] == readings(poll, Run)
        assert [LIST] == it.account.sent

    async def test_gives_a_run_up_that_the_list_ended_long_ago(self) -> None:
        """A run must be given up when the list ended it long ago, whatever its status says."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(0))
        await it.poll("runs")
        it.account.answers[LIST] = ok([ended_row(1)])

        it.time.shift(4000)
        poll = await it.poll("runs")

        assert [] == readings(poll, Run)
        (suite,) = readings(poll, Suite)
        assert (False, "1") == (suite.running, suite.last_run and suite.last_run.run_id)

    async def test_drops_a_deleted_run(self) -> None:
        """A run that neither the list nor the API knows any more is gone without a failure."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(100))
        await it.poll("runs")
        it.account.answers[LIST] = ok([])
        del it.account.answers["masters/1/status"]

        poll = await it.poll("runs")

        assert ((), ()) == (poll.readings, poll.failures)

    @pytest.mark.parametrize("status", [404, 500])
    async def test_believes_a_list_that_ended_a_run_it_cannot_ask_about(self, status: int) -> None:
        """A run that ended in the list must be finished, even if its status cannot be read."""
        it = bench(ended_row(1))
        it.account.answers["masters/1/status"] = httpx.Response(status)

        poll = await it.poll("runs")

        (suite,) = readings(poll, Suite)
        assert (False, "1") == (suite.running, suite.last_run and suite.last_run.run_id)
        assert [] == readings(poll, Run)
        assert (0 if status == 404 else 1) == len(poll.failures)
        await it.poll("runs")
        assert ("masters/1/status" in it.account.sent) is (status == 500)

    async def test_believes_a_list_that_is_newer_than_the_status(self) -> None:
        """A failed run whose status cannot be read any more must not pass for running."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(100))
        assert (await only(it, Suite)).running
        it.account.answers[LIST] = ok([ended_row(1, reportStatus="fail")])
        it.account.answers["masters/1/status"] = httpx.Response(500)

        it.time.shift(60)
        (suite,) = readings(await it.poll("runs"), Suite)

        assert suite.last_run is not None
        assert (False, "1", False) == (suite.running, suite.last_run.run_id, suite.last_run.passed)

    async def test_a_run_that_fails_does_not_put_the_source_down(self) -> None:
        """A failed status must not put the source down while other calls are answered."""
        it = bench(row(1), row(2))
        it.account.answers["masters/1/status"] = ok(status_of(100))
        it.account.answers["masters/2/status"] = httpx.Response(500)

        poll = await it.poll("runs")

        assert ["2"] == [failure.target for failure in poll.failures]
        assert poll.asked

    async def test_no_run_that_can_be_asked_is_said(self) -> None:
        """If no status can be read, the poll must count as unanswered."""
        it = bench(row(1), row(2))
        it.account.answers["masters/1/status"] = httpx.Response(502)
        it.account.answers["masters/2/status"] = httpx.Response(500)

        poll = await it.poll("runs")

        assert not poll.asked

    async def test_no_list_that_can_be_read_is_said(self) -> None:
        """A list that cannot be read must be reported, although known runs are asked about."""
        it = bench(row(1))
        it.account.at(100, 1)
        assert (await it.poll("runs")).asked
        it.account.answers[LIST] = httpx.Response(500)

        it.time.shift(60)
        poll = await it.poll("runs")

        assert not poll.asked
        assert ["running"] == [run.phase for run in readings(poll, Run)]

    async def test_runs_that_all_fail_put_the_source_down(self) -> None:
        """Without a list there is nothing else that could be answered."""
        it = Bench(Account(), masters=[1])
        it.account.answers["masters/1"] = ok(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(100))
        await it.poll("runs")
        it.account.answers["masters/1/status"] = httpx.Response(502)

        it.time.shift(60)
        with pytest.raises(PollError):
            await it.poll("runs")

    async def test_carries_a_run_over_until_it_is_too_old(self) -> None:
        """A status call that fails leaves the last reading, for as long as it is fresh."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(100))
        before = await only(it, Run)
        it.account.answers["masters/1/status"] = httpx.Response(503)

        it.time.shift(170)
        poll = await it.poll("runs")
        it.time.shift(20)
        later = readings(await it.poll("runs"), Run)

        assert [before] == readings(poll, Run)
        assert [("1", Reason.HTTP_5XX)] == [(f.target, f.reason) for f in poll.failures]
        assert [] == later

    @pytest.mark.parametrize("code", [99.5, 1000, "text", None, -1])
    async def test_takes_odd_codes_for_unknown(self, code: object) -> None:
        """A run with an odd code must be in flight in an unknown phase."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok({"progress": code})

        run = await only(it, Run)

        assert "unknown" == run.phase

    async def test_exposes_no_code_below_zero(self) -> None:
        """A negative code must not be exposed: it means that the code is not known."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok({"progress": -1})

        run = await only(it, Run)

        assert run.progress_code is None
        assert "run_progress_code" not in exposed(run)

    async def test_counts_the_linger_from_the_runs_own_end(self) -> None:
        """A run must be shown for `run_linger` from its own end, not from when it was found."""
        it = bench(ended_row(1, ended=BASE - 1140), run_linger="30m")
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))
        assert len(readings(await it.poll("runs"), Run)) == 1

        it.time.shift(660)

        assert [] == readings(await it.poll("runs"), Run)

    async def test_hides_a_run_while_its_verdict_is_waited_for(self) -> None:
        """A short linger ends the run's series, though the verdict is still asked for."""
        it = bench(row(1), run_linger="1m")
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))
        it.account.answers["masters/1"] = ok(ended_row(1, reportStatus="fail"))
        await it.poll("runs")
        it.account.answers[LIST] = ok([])

        it.time.shift(120)
        poll = await it.poll("runs")

        assert [] == readings(poll, Run)
        assert [False] == [s.last_run and s.last_run.passed for s in readings(poll, Suite)]


class TestConfigured:
    async def test_runs_need_no_workspace(self) -> None:
        """A run is described and followed by its id alone."""
        it = bench(masters=[1], workspaces=[])
        it.account.answers["masters/1"] = ok(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(25))

        poll = await it.poll("runs")

        assert ["user", "masters/1", "tests/7", "masters/1/status"] == it.account.sent
        assert ["booting"] == [run.phase for run in readings(poll, Run)]
        assert [True] == [suite.running for suite in readings(poll, Suite)]

    async def test_runs_that_ended_long_ago_are_asked_for_once(self) -> None:
        """Runs that ended long ago must be asked for once."""
        it = bench(masters=[82000000], workspaces=[])
        it.account.fixture("masters/82000000", "master_detail")

        first = await it.poll("runs")
        second = await it.poll("runs")

        assert [] == it.account.sent
        assert first == second
        assert [True] == [s.last_run and s.last_run.passed for s in readings(first, Suite)]

    async def test_runs_that_do_not_exist_are_a_failure(self) -> None:
        """Configured runs that do not exist must be a failure of every poll."""
        it = bench(masters=[404])

        for _ in range(2):
            poll = await it.poll("runs")

            assert [("404", Reason.UNKNOWN_ID)] == [(f.target, f.reason) for f in poll.failures]

    async def test_runs_on_a_list_are_not_described_again(self) -> None:
        """The list has the same fields."""
        it = bench(row(1), masters=[1])
        it.account.answers["masters/1/status"] = ok(status_of(25))

        await it.poll("runs")

        assert "masters/1" not in it.account.sent


class TestSuites:
    async def test_are_judged_by_the_newest_finished_run(self) -> None:
        """The newest by start, not by the order of the list or the end."""
        it = bench(
            ended_row(1, created=BASE - 9000, ended=BASE - 4000, reportStatus="fail"),
            ended_row(2, created=BASE - 8000, ended=BASE - 5000),
        )

        suite = await only(it, Suite)

        assert suite.last_run is not None
        assert ("2", True) == (suite.last_run.run_id, suite.last_run.passed)
        assert ["2", "1"] == [run.run_id for run in suite.history]

    async def test_remember_runs_between_polls(self) -> None:
        """A later list that is shorter takes nothing away."""
        it = bench(ended_row(1, ended=BASE - 4000))
        before = await only(it, Suite)
        it.account.answers[LIST] = ok([])

        it.time.shift(60)

        assert before == await only(it, Suite)

    async def test_forget_what_is_older_than_lookback(self) -> None:
        """A test that has not run for so long is not reported."""
        it = bench(ended_row(1, ended=BASE - 4000), lookback="2h")
        assert len(readings(await it.poll("runs"), Suite)) == 1

        it.time.shift(3600)

        assert [] == readings(await it.poll("runs"), Suite)

    async def test_remember_how_long_a_run_has_booted(self) -> None:
        """The boot time of a run must be kept after its events are gone."""
        it = bench(ended_row(1))
        events = [
            {"message": f"Status changed to X ({code})", "t": BASE - at, "level": "INFO"}
            for code, at in ((15, 300), (100, 220), (140, 50))
        ]
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=events))
        await it.poll("runs")
        it.time.shift(4000)
        await it.poll("runs")

        (suite,) = readings(await it.poll("runs"), Suite)

        assert suite.last_run is not None
        assert 80 == suite.last_run.boot_seconds

    async def test_keep_ten_runs(self) -> None:
        """The history is bounded."""
        rows = [ended_row(n, created=BASE - 9000 + n, ended=BASE - 4000) for n in range(1, 15)]

        suite = await only(bench(*rows), Suite)

        assert [str(n) for n in range(14, 4, -1)] == [run.run_id for run in suite.history]

    async def test_are_filtered_with_their_runs(self) -> None:
        """An excluded test has no reading, and costs no call but the one for its name."""
        it = bench(row(1), exclude={"suites": "Load"})

        poll = await it.poll("runs")

        assert () == poll.readings
        assert ["user", LIST, "tests/7"] == it.account.sent
        await it.poll("runs")
        assert [LIST] == it.account.sent

    async def test_need_an_id(self) -> None:
        """A run without a test is a run, but no suite."""
        it = bench(row(1, testId=None))
        it.account.answers["masters/1/status"] = ok(status_of(100))

        poll = await it.poll("runs")

        assert (1, 0) == (len(readings(poll, Run)), len(readings(poll, Suite)))


async def test_runs_are_located_like_agents() -> None:
    """Once the private locations are known, runs name them as the agents do."""
    it = bench()
    it.account.fixture(LIST, "masters_list")
    it.account.fixture("private-locations?workspaceId=200001", "private_locations")
    it.account.status(82000001, "master_status.running")
    it.account.status(82000002, "master_status.running")
    await it.poll("agents")

    runs = readings(await it.poll("runs"), Run)

    assert "Datacentre 1,us-east4-a" == runs[0].location


async def test_a_run_without_a_usable_id_is_left_out() -> None:
    """A run id that is no number must never get into a path."""
    it = bench(row(1) | {"id": "1/../../user"}, row(2) | {"id": None})

    poll = await it.poll("runs")

    assert () == poll.readings
    assert ["user", LIST] == it.account.sent
    assert (1, 1) == (it.surprises("type"), it.surprises("missing_field"))


async def test_nothing_learnt_is_an_error() -> None:
    """When no call is answered the poll fails with the first one's reason."""
    it = bench()
    it.account.answers[LIST] = error("200_with_error", 200)

    with pytest.raises(CallError, match="the reply is error 402") as raised:
        await it.poll("runs")

    assert raised.value.reason is Reason.API_ERROR


async def test_an_outage_keeps_what_is_followed() -> None:
    """After an outage the followed runs are asked about as before."""
    it = bench(row(1))
    it.account.answers["masters/1/status"] = ok(status_of(100))
    before = await only(it, Run)
    answers = dict(it.account.answers)
    it.account.answers = dict.fromkeys(answers, httpx.Response(502))
    with pytest.raises((CallError, BlockedError)):
        await it.poll("runs")
    it.account.answers = answers | {LIST: ok([])}

    it.time.shift(60)

    assert before == await only(it, Run)
