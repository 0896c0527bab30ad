from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.fleet.readings import Outcome, Run, Suite
from exporter.sources.blazemeter.masters import read_outcome
from exporter.sources.blazemeter.replies import FunctionalSummary, Master
from tests.sources.blazemeter.support import (
    BASE,
    LIST,
    bench,
    document,
    ended_row,
    ok,
    only,
    readings,
    row,
    status_of,
)


class TestVerdict:
    @pytest.mark.parametrize(
        ("status", "passed"),
        [
            ("pass", True),
            ("fail", False),
            ("error", False),
            ("abort", None),
            ("noData", False),
            ("PASS", True),
            ("Fail", False),
            ("nodata", False),
            ("unset", None),
            (None, None),
            ("new", None),
        ],
    )
    async def test_is_the_report_status(self, status: str | None, passed: bool | None) -> None:
        """Only `pass` passed; without criteria there is no verdict."""
        it = bench(ended_row(1, reportStatus=status))
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))

        poll = await it.poll("runs")

        (run,), (suite,) = readings(poll, Run), readings(poll, Suite)
        assert passed is run.passed
        assert suite.last_run is not None
        assert passed is suite.last_run.passed
        assert (1 if status == "new" else 0) == it.surprises("enum")

    async def test_is_none_in_flight(self) -> None:
        """A run in flight must have no verdict, whatever the list says."""
        it = bench(row(1, reportStatus="fail"))
        it.account.answers["masters/1/status"] = ok(status_of(100))

        poll = await it.poll("runs")

        assert [None] == [run.passed for run in readings(poll, Run)]
        assert [None] == [suite.last_run for suite in readings(poll, Suite)]

    async def test_is_read_again_after_the_end(self) -> None:
        """A verdict that comes late is found although the list has forgotten the run."""
        it = bench(row(1))
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))
        it.account.answers["masters/1"] = ok(ended_row(1, reportStatus="unset"))
        await it.poll("runs")
        it.account.answers[LIST] = ok([])
        it.time.shift(60)
        assert (await only(it, Run)).passed is None
        it.account.answers["masters/1"] = ok(ended_row(1, reportStatus="fail"))

        it.time.shift(60)
        poll = await it.poll("runs")

        assert [False] == [run.passed for run in readings(poll, Run)]
        assert [False] == [s.last_run and s.last_run.passed for s in readings(poll, Suite)]
        assert "masters/1" in it.account.sent
        await it.poll("runs")
        assert "masters/1" not in it.account.sent

    async def test_is_not_waited_for_ever(self) -> None:
        """A run without criteria is asked about for ten minutes after its end."""
        it = bench(ended_row(1, reportStatus="unset"))
        it.account.answers["masters/1/status"] = ok(status_of(140))
        it.account.answers["masters/1/status+events"] = ok(status_of(140, events=[]))
        it.account.answers["masters/1"] = ok(ended_row(1, reportStatus="unset"))
        await it.poll("runs")
        it.account.answers[LIST] = ok([])

        it.time.shift(580)
        await it.poll("runs")
        asked = "masters/1" in it.account.sent
        it.time.shift(30)
        await it.poll("runs")

        assert asked
        assert [LIST] == it.account.sent


class TestFunctionalRun:
    """A run without a report's word, as two recorded replies have it."""

    @pytest.mark.parametrize(
        ("fixture", "passed"),
        [
            ("master_detail.functional_failed", False),
            ("master_detail.functional_passed", True),
            ("master_detail.functional_summary_only", False),
        ],
    )
    async def test_is_judged_by_its_flags(self, fixture: str, *, passed: bool) -> None:
        """`passed` counts, and where it is null the functional summary."""
        master = document(fixture)["result"]
        it = bench(master)
        it.account.at(140, master["id"])

        poll = await it.poll("runs")

        (run,), (suite,) = readings(poll, Run), readings(poll, Suite)
        outcome = Outcome.PASSED if passed else Outcome.FAILED
        assert (outcome, passed) == (run.outcome, suite.last_run_passed)
        assert suite.last_run is not None
        assert outcome is suite.last_run.outcome

    async def test_is_looked_at_itself(self) -> None:
        """A verdict the list leaves out must be read once from the run itself, and kept."""
        it = bench(ended_row(1, reportStatus=None))
        it.account.at(140, 1)
        it.account.answers["masters/1"] = ok(
            ended_row(1, reportStatus=None, functionalSummary={"isFailed": True})
        )
        await it.poll("runs")

        for _ in range(3):
            it.time.shift(60)
            assert Outcome.FAILED is (await only(it, Run)).outcome
        assert 1 == [each.url.path for each in it.account.requests].count("/api/v4/masters/1")

    @pytest.mark.parametrize(
        ("fields", "outcome"),
        [
            ({"passed": False}, Outcome.FAILED),
            ({"passed": True}, Outcome.PASSED),
            ({"passed": True, "functionalSummary": {"isFailed": True}}, Outcome.PASSED),
            ({"reportStatus": "unset", "passed": False}, Outcome.FAILED),
            ({"reportStatus": "later", "passed": True}, Outcome.PASSED),
            ({"reportStatus": "fail", "passed": True}, Outcome.FAILED),
            ({"reportStatus": "abort", "passed": True}, Outcome.ABORTED),
            ({"functionalSummary": {"definedStatus": "passed", "isFailed": True}}, Outcome.PASSED),
            ({"functionalSummary": {"definedStatus": "PASSED"}}, Outcome.PASSED),
            ({"functionalSummary": {"definedStatus": "failed", "isFailed": False}}, Outcome.FAILED),
            ({"functionalSummary": {"isFailed": False, "failedPercentage": 100}}, Outcome.PASSED),
            ({"functionalSummary": {"failedPercentage": 0}}, Outcome.NO_VERDICT),
            ({"functionalSummary": None, "passed": None}, Outcome.NO_VERDICT),
            ({"reportStatus": "pass", "hasData": False}, Outcome.NO_DATA),
            ({"reportStatus": "fail", "hasData": False}, Outcome.FAILED),
            ({"reportStatus": "unset", "hasData": False}, Outcome.NO_VERDICT),
        ],
    )
    async def test_has_an_order_of_evidence(self, fields: dict[str, Any], outcome: Outcome) -> None:
        """The report's word, else the criteria, else the summary, and no pass without data."""
        it = bench(ended_row(1, **{"reportStatus": None, **fields}))
        it.account.at(140, 1)

        assert outcome is (await only(it, Run)).outcome


class TestAbort:
    async def test_is_an_outcome_without_a_verdict(self) -> None:
        """A person stopped the run while it was booting."""
        master = document("master_detail.aborted")["result"]
        it = bench(master, run_linger="5h")
        it.account.at(140, master["id"])
        it.account.suites(t14000001="Checkout load")

        poll = await it.poll("runs")

        (run,), (suite,) = readings(poll, Run), readings(poll, Suite)
        assert (Outcome.ABORTED, None) == (run.outcome, run.passed)
        assert suite.last_run is not None
        assert (Outcome.ABORTED, None) == (suite.last_run.outcome, suite.last_run_passed)

    @pytest.mark.parametrize("verdict", ["fail", "pass", "error", "noData"])
    async def test_leaves_the_verdict_before_it(self, verdict: str) -> None:
        """The newest run with a verdict must decide, however many later runs were aborted."""
        rows = [ended_row(1, created=BASE - 9000, ended=BASE - 8000, reportStatus=verdict)]
        for n in range(2, 30):
            when = BASE - 7000 + n
            rows.append(ended_row(n, created=when, ended=when + 5, reportStatus="abort"))

        suite = await only(bench(*rows), Suite)

        assert (verdict == "pass") is suite.last_run_passed
        assert suite.last_run is not None
        assert ("29", Outcome.ABORTED) == (suite.last_run.run_id, suite.last_run.outcome)
        assert 10 == len(suite.history)


class TestPassInFlight:
    async def test_is_no_evidence(self) -> None:
        """A pass read while the run was in flight must not be its verdict once it has ended."""
        it = bench(row(1, reportStatus="pass", passed=True))
        it.account.at(140, 1)
        it.account.answers["masters/1"] = ok(ended_row(1, reportStatus="fail"))

        first = await only(it, Run)
        it.account.answers[LIST] = ok([])
        it.time.shift(60)
        second = await only(it, Run)

        assert (Outcome.NO_VERDICT, Outcome.FAILED) == (first.outcome, second.outcome)

    async def test_is_believed_after_the_end(self) -> None:
        """A verdict read after the end must count, even without the time of the end."""
        it = bench(row(1))
        it.account.at(140, 1)
        await it.poll("runs")
        it.account.answers[LIST] = ok([row(1, reportStatus="pass")])

        it.time.shift(60)

        assert Outcome.PASSED is (await only(it, Run)).outcome


MASTERS = st.builds(
    Master,
    ended=st.sampled_from([None, 0, BASE]),
    report_status=st.sampled_from(
        [None, "", "pass", "PASS", "fail", "error", "abort", "noData", "unset", "new"]
    ),
    passed=st.sampled_from([None, True, False]),
    functional_summary=st.none()
    | st.builds(
        FunctionalSummary,
        defined_status=st.sampled_from([None, "passed", "failed", "odd"]),
        is_failed=st.sampled_from([None, True, False]),
    ),
    has_data=st.sampled_from([None, True, False]),
)


@given(master=MASTERS)
def test_nothing_passes_without_evidence(master: Master) -> None:
    """A pass takes the report's word or, after the end, a flag that says so and no other word."""
    surprises: list[str] = []
    outcome = read_outcome(master, surprises.append)

    if outcome is Outcome.PASSED:
        word = (master.report_status or "").lower()
        summary = master.functional_summary or FunctionalSummary()
        assert master.has_data is not False
        assert word not in ("fail", "error", "abort", "nodata")
        if word != "pass":
            assert master.ended
            assert master.passed is not False
            assert master.passed or summary.defined_status == "passed" or summary.is_failed is False


OUTCOMES = {"pass": True, "fail": False, "error": False, "noData": False, "abort": None}


@settings(max_examples=40, deadline=None)  # a poll asks a lot
@given(words=st.lists(st.sampled_from([*OUTCOMES, "unset"]), min_size=1, max_size=25))
async def test_no_abort_makes_a_pass_of_a_failure(words: list[str]) -> None:
    """The newest verdict must count in any order of runs; aborted and `unset` have none."""
    rows = [
        ended_row(n, created=BASE - 9000 + n, ended=BASE - 8000 + n, reportStatus=word)
        for n, word in enumerate(words, start=1)
    ]
    verdicts = [OUTCOMES[word] for word in words if OUTCOMES.get(word) is not None]

    suite = await only(bench(*rows), Suite)

    assert (verdicts[-1] if verdicts else None) is suite.last_run_passed
