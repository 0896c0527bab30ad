from __future__ import annotations

from typing import Any

import httpx
import pytest

from exporter.fleet.readings import Outcome, Run, Suite
from exporter.sources.blazemeter.replies import Summary, SummaryRow
from exporter.sources.blazemeter.results import Results, read_results
from tests.sources.blazemeter.support import (
    BASE,
    LIST,
    bench,
    document,
    ended_row,
    exposed,
    no_surprise,
    ok,
    only,
    readings,
    row,
    status_of,
)
from tests.support.restart import Restarts


SUMMARY = "masters/1/reports/default/summary"
CI = "masters/1/ci-status"


def old(run_id: int = 1, **fields: Any) -> dict[str, Any]:
    """Make a row of a run that ended hours ago."""
    return ended_row(run_id, **{"created": BASE - 12000, "ended": BASE - 8000, **fields})


class TestSummary:
    async def test_is_read_whole(self) -> None:
        """Counts, times in seconds, throughput and users of the newest finished run."""
        it = bench(old(1, maxUsers=150))
        it.account.fixture(SUMMARY, "summary.full")

        suite = await only(it, Suite)

        shown = exposed(suite)
        assert {
            'suite_last_run_samples{result="passed"}': 245678,
            'suite_last_run_samples{result="failed"}': 935,
            'suite_last_run_response_seconds{percentile="90"}': 0.241,
            'suite_last_run_response_seconds{percentile="95"}': 0.33,
            'suite_last_run_response_seconds{percentile="99"}': 0.702,
            "suite_last_run_response_mean_seconds": 0.12541050552890562,
            "suite_last_run_requests_per_second": 68.7,
            "suite_last_run_max_users": 200,
            "suite_last_run_duration_seconds": 4000,
        } == {
            name: value
            for name, value in shown.items()
            if name.startswith("suite_last_run_")
            and not any(word in name for word in ("outcome", "passed_", "timestamp"))
            and name != "suite_last_run_passed"
        }

    async def test_without_numbers_is_absent(self) -> None:
        """A run of a browser test passes without a single one: null is never 0."""
        it = bench(old(1, maxUsers=5))
        it.account.fixture(SUMMARY, "summary.no_kpis")

        last = (await only(it, Suite)).last_run

        assert last is not None
        assert ({}, {}, None, None, 5) == (
            last.samples,
            last.response_seconds,
            last.response_mean_seconds,
            last.requests_per_second,
            last.max_users,
        )

    async def test_is_read_once(self) -> None:
        """A finished run's results must be read once, also over a restart."""
        it = bench(old(1))
        it.account.fixture(SUMMARY, "summary")
        restarts = Restarts(it, it.time)
        before = await restarts.poll("runs")

        restarts.restart(down_seconds=60)
        it.account.sent.clear()
        after = await restarts.poll("runs")

        assert before == after
        assert [LIST] == [key for key in it.account.sent if key != "user"]

    async def test_is_read_after_the_end_only(self) -> None:
        """A run in flight has none; the run before it has."""
        it = bench(row(2), old(1))
        it.account.at(100, 2)
        it.account.fixture(SUMMARY, "summary")

        suite = await only(it, Suite)

        assert suite.last_run is not None
        assert 68.7 == suite.last_run.requests_per_second
        assert "masters/2/reports/default/summary" not in it.account.sent

    async def test_is_read_of_the_newest_run_alone(self) -> None:
        """Only the newest run's results must be read."""
        it = bench(old(1), old(2, created=BASE - 11000))

        await it.poll("runs")

        asked = [key for key in it.account.sent if key.endswith("summary")]
        assert ["masters/2/reports/default/summary"] == asked

    @pytest.mark.parametrize(
        ("answer", "polls"),
        [
            (ok({"summary": []}), 3),
            (ok({}), 3),
            (ok(None), 3),
            (httpx.Response(500), 3),
            (httpx.Response(404), 1),
            (httpx.Response(403, json={}), 1),
        ],
    )
    async def test_is_not_asked_for_ever(self, answer: httpx.Response, polls: int) -> None:
        """A run without results is asked a few times, then it has none."""
        it = bench(old(1))
        it.account.answers[SUMMARY] = answer

        asked = []
        for _ in range(5):
            await it.poll("runs")
            asked.append(SUMMARY in it.account.sent)
            it.time.shift(60)

        assert [True] * polls + [False] * (5 - polls) == asked

    async def test_comes_late(self) -> None:
        """Results that were not there at once are found with the next poll."""
        it = bench(old(1))
        it.account.answers[SUMMARY] = ok({"summary": []})
        await it.poll("runs")
        it.account.fixture(SUMMARY, "summary")

        it.time.shift(60)
        last = (await only(it, Suite)).last_run

        assert last is not None
        assert {"passed": 245678, "failed": 935} == last.samples

    async def test_of_many_is_spread_over_polls(self) -> None:
        """The first poll of a large account does not ask all suites at once."""
        it = bench(*(old(n, testId=n) for n in range(1, 46)))
        it.account.suites(**{f"t{n}": f"Test {n}" for n in range(1, 46)})
        for n in range(1, 46):
            it.account.fixture(f"masters/{n}/reports/default/summary", "summary")

        asked = []
        for _ in range(4):
            await it.poll("runs")
            asked.append(sum(key.endswith("summary") for key in it.account.sent))
            it.time.shift(60)

        assert [20, 20, 5, 0] == asked

    async def test_of_an_excluded_suite_is_not_asked_for(self) -> None:
        """Results of an excluded suite must not be asked for."""
        it = bench(old(1), exclude={"suites": "Load"})

        await it.poll("runs")

        assert SUMMARY not in it.account.sent


class TestReading:
    def test_takes_the_row_of_all_labels(self) -> None:
        """The row of all labels must be found by either of its names."""
        rows = (SummaryRow(id="x", lb="Home", hits_avg=1), SummaryRow(lb="ALL", hits_avg=2))

        assert 2 == read_results(Summary(summary=rows), no_surprise).requests_per_second

    def test_measures_zero(self) -> None:
        """No request is a count, but nothing that took no time."""
        row = SummaryRow(id="ALL", hits=0, failed=0, avg=0, tp90=0, hits_avg=0, max_users=0)

        expected = Results(samples={"passed": 0, "failed": 0}, requests_per_second=0, max_users=0)
        assert expected == read_results(Summary(summary=(row,)), no_surprise)

    def test_falls_back_on_concurrency(self) -> None:
        """Older replies know the users by that name only."""
        row = SummaryRow(id="ALL", concurrency=40)

        assert 40 == read_results(Summary(summary=(row,)), no_surprise).max_users

    def test_leaves_out_what_is_no_measurement(self) -> None:
        """Negative numbers must be left out, and impossible ones be a surprise."""
        row = SummaryRow(id="ALL", hits=5, failed=6, avg=-1, tp95=-1, hits_avg=-1, max_users=-1)
        surprises: list[str] = []

        assert Results() == read_results(Summary(summary=(row,)), surprises.append)
        assert ["type"] == surprises


class TestEngineErrors:
    async def test_show_in_the_exit_code(self) -> None:
        """A run must be able to pass although an engine exited with 1."""
        it = bench(ended_row(1))
        it.account.status(1, "master_status.ended.error_events")

        run = await only(it, Run)

        assert (Outcome.PASSED, 1, True) == (run.outcome, run.exit_code, run.engine_errors)
        assert (1, 1) == (exposed(run)["run_passed"], exposed(run)["run_engine_errors"])

    async def test_show_in_missing_engines(self) -> None:
        """Two servers where three were planned, at the end."""
        it = bench(ended_row(1))
        ready = {"servers": [{}, {}], "plannedServersCount": 3, "isDelayedStart": False}
        it.account.at(140, 1, sessions=[{"id": "a", "readyStatus": ready}])

        run = await only(it, Run)

        assert (Outcome.PASSED, True) == (run.outcome, run.engine_errors)

    @pytest.mark.parametrize(
        ("fixture", "errors"), [("error", True), ("failure", False), ("success", False)]
    )
    async def test_show_in_the_ci_status(self, fixture: str, *, errors: bool) -> None:
        """Errors of engines must be read from the status's `errors`, not its `failures`."""
        it = bench(ended_row(1))
        it.account.at(140, 1)
        it.account.fixture(CI, f"ci_status.{fixture}")

        run = await only(it, Run)

        assert errors is run.engine_errors
        assert Outcome.PASSED is run.outcome

    async def test_are_unknown_without_evidence(self) -> None:
        """Without the status, engine errors must be unknown, without a failure."""
        it = bench(ended_row(1))
        it.account.at(140, 1)

        poll = await it.poll("runs")

        (run,) = readings(poll, Run)
        assert run.engine_errors is None
        assert () == poll.failures

    async def test_are_unknown_in_flight(self) -> None:
        """An engine that is not there yet is not lost."""
        it = bench(row(1))
        it.account.status(1, "master_status.delayed_start")

        run = await only(it, Run)

        assert run.engine_errors is None
        assert CI not in it.account.sent

    async def test_are_asked_for_once(self) -> None:
        """The status must be asked for once, also over a restart."""
        it = bench(ended_row(1))
        it.account.at(140, 1)
        it.account.fixture(CI, "ci_status.error")
        restarts = Restarts(it, it.time)
        await restarts.poll("runs")

        restarts.restart(down_seconds=60)
        it.account.sent.clear()
        after = await restarts.poll("runs")

        assert [True] == [each.engine_errors for each in after if isinstance(each, Run)]
        assert CI not in it.account.sent

    async def test_that_cannot_be_read_are_tried_again(self) -> None:
        """Three times, and each is a failure."""
        it = bench(ended_row(1))
        it.account.at(140, 1)
        it.account.answers[CI] = httpx.Response(500)

        failures = []
        for _ in range(4):
            failures.append(len((await it.poll("runs")).failures))
            it.time.shift(60)

        assert [1, 1, 1, 0] == failures


async def test_a_delayed_start_is_no_stuck_run() -> None:
    """A run that waits for its start must be ready, not stuck."""
    it = bench(row(1, created=BASE - 3960))
    it.account.status(1, "master_status.delayed_start")

    run = await only(it, Run)

    shown = exposed(run)
    assert ("ready", True) == (run.phase, run.delayed_start)
    assert (1, 2, 5) == (
        shown["run_delayed_start"],
        shown["run_engines"],
        shown["run_engines_planned"],
    )


async def test_a_run_that_makes_load_waits_for_nobody() -> None:
    """The flag stays on the reply after the start."""
    it = bench(row(1))
    status = document("master_status.delayed_start")["result"] | {"progress": 100, "status": None}
    it.account.answers["masters/1/status"] = ok(status)

    run = await only(it, Run)

    assert ("running", False) == (run.phase, run.delayed_start)


async def test_engines_are_unknown_without_servers() -> None:
    """Without servers in a session, the number of engines must be unknown."""
    it = bench(row(1))
    it.account.answers["masters/1/status"] = ok(status_of(100) | {"sessions": [{"id": "a"}]})

    run = await only(it, Run)

    assert (None, None, None) == (run.engines, run.engines_planned, run.delayed_start)
