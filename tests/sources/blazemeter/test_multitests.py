from __future__ import annotations

from typing import Any

import httpx

from exporter.fleet.readings import Run, Suite
from tests.sources.blazemeter.support import (
    BASE,
    LIST,
    Bench,
    bench,
    ended_row,
    ok,
    only,
    readings,
    row,
)
from tests.support.restart import Restarts


MULTI = "multi-tests?workspaceId=200001"


def unnamed(run_id: int, **fields: Any) -> dict[str, Any]:
    """Make a run in flight that names no test."""
    return row(run_id, testId=None, name=f"March_08_{run_id} - Multi-Test", **fields)


def ended(run_id: int, **fields: Any) -> dict[str, Any]:
    """Make a run that ended and names no test."""
    return unnamed(run_id, ended=BASE - 8000, reportStatus="fail", **fields)


def multi_tests(it: Bench, *numbers: int) -> None:
    """List some multi-tests in the workspace, of which the first one ran last."""
    rows = [
        {"id": number, "name": f"Multi {number}", "lastRunTime": BASE - age}
        for age, number in enumerate(numbers)
    ]
    it.account.answers[MULTI] = ok(rows, total=len(rows))


class TestSearch:
    async def test_finds_the_multi_test_of_a_run(self) -> None:
        """A run without a name must be found among a multi-test's runs, with their history."""
        it = bench(unnamed(2), ended(1))
        it.account.at(100, 2)
        multi_tests(it, 77)
        it.account.answers["masters?collectionId=77"] = ok([unnamed(2), ended(1), ended(3)])

        poll = await it.poll("runs")

        (run,), (suite,) = readings(poll, Run), readings(poll, Suite)
        assert "multi-77" == run.suite_id
        assert ("multi-77", "Multi 77", True) == (suite.suite_id, suite.suite, suite.running)
        assert ["3", "1"] == [each.run_id for each in suite.history]
        assert suite.last_run_passed is False

    async def test_is_not_made_again(self) -> None:
        """A suite found for a run must be kept, also over a restart, without asking again."""
        it = bench(unnamed(2), ended(1))
        it.account.at(100, 2)
        multi_tests(it, 77)
        it.account.answers["masters?collectionId=77"] = ok([unnamed(2), ended(1)])
        restarts = Restarts(it, it.time)
        await restarts.poll("runs")

        restarts.restart(down_seconds=60)
        it.account.sent.clear()
        readings_ = await restarts.poll("runs")

        assert ["multi-77"] == [each.suite_id for each in readings_ if isinstance(each, Run)]
        assert ["Multi 77"] == [each.suite for each in readings_ if isinstance(each, Suite)]
        assert not any("multi-tests" in key or "collection" in key for key in it.account.sent)

    async def test_asks_a_few_at_a_time(self) -> None:
        """A poll must ask about five multi-tests at most, the newest first."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        multi_tests(it, *range(101, 113))
        for number in range(101, 113):
            it.account.answers[f"masters?collectionId={number}"] = ok([])
        it.account.answers["masters?collectionId=112"] = ok([unnamed(1)])

        asked, found = [], []
        for _ in range(4):
            run = await only(it, Run)
            asked.append([key for key in it.account.sent if "collectionId" in key])
            found.append(run.suite_id)
            it.time.shift(60)

        assert [5, 5, 2, 0] == [len(keys) for keys in asked]
        assert "masters?collectionId=101" == asked[0][0]
        assert ["", "", "multi-112", "multi-112"] == found

    async def test_asks_again_what_did_not_answer(self) -> None:
        """A call that fails does not lose the run's suite, and is made for an hour at most."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        multi_tests(it, 101, 102)
        it.account.answers["masters?collectionId=101"] = httpx.Response(500)
        it.account.answers["masters?collectionId=102"] = ok([])
        await it.poll("runs")
        it.account.answers["masters?collectionId=101"] = ok([unnamed(1)])

        it.time.shift(60)
        run = await only(it, Run)

        assert "multi-101" == run.suite_id
        assert "masters?collectionId=102" not in it.account.sent

    async def test_gives_up_what_does_not_answer_for_an_hour(self) -> None:
        """A multi-test whose runs cannot be read must be given up after an hour."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        multi_tests(it, 101)
        it.account.answers["masters?collectionId=101"] = httpx.Response(500)
        await it.poll("runs")
        it.account.answers[LIST] = ok([])
        it.account.at(140, 1)

        it.time.shift(3500)
        await it.poll("runs")
        before = "masters?collectionId=101" in it.account.sent
        it.time.shift(200)
        await it.poll("runs")
        it.time.shift(60)
        await it.poll("runs")

        assert (True, False) == (before, "masters?collectionId=101" in it.account.sent)

    async def test_ends_when_all_are_found(self) -> None:
        """No multi-test is asked without a need."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        multi_tests(it, *range(101, 113))
        it.account.answers["masters?collectionId=101"] = ok([unnamed(1)])
        await it.poll("runs")

        it.time.shift(60)
        await it.poll("runs")

        assert not any("collectionId" in key for key in it.account.sent)

    async def test_is_repeated_once_an_hour(self) -> None:
        """A run without a suite must be looked for again after an hour."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        multi_tests(it, 101)
        it.account.answers["masters?collectionId=101"] = ok([])
        await it.poll("runs")

        it.time.shift(3500)
        await it.poll("runs")
        before = MULTI in it.account.sent
        it.time.shift(200)
        await it.poll("runs")

        assert (False, True) == (before, MULTI in it.account.sent)

    async def test_is_made_for_a_new_run_at_once(self) -> None:
        """The list of an hour ago may do for it."""
        it = bench(unnamed(1))
        it.account.at(100, 1, 2)
        multi_tests(it, 101)
        it.account.answers["masters?collectionId=101"] = ok([unnamed(1)])
        await it.poll("runs")
        it.account.answers[LIST] = ok([unnamed(2), unnamed(1)])
        it.account.answers["masters?collectionId=101"] = ok([unnamed(2), unnamed(1)])

        it.time.shift(60)
        runs = readings(await it.poll("runs"), Run)

        assert {"multi-101"} == {run.suite_id for run in runs}
        assert MULTI not in it.account.sent

    async def test_does_not_believe_a_list_that_is_not_the_multi_tests(self) -> None:
        """A server that ignores `collectionId` lists runs of tests, too."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        multi_tests(it, 101)
        it.account.answers["masters?collectionId=101"] = ok([unnamed(1), ended_row(2)])

        assert "" == (await only(it, Run)).suite_id

    async def test_is_no_failure_where_it_is_refused(self) -> None:
        """Without the right to read multi-tests a run has no suite."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        it.account.answers[MULTI] = httpx.Response(403, json={})

        poll = await it.poll("runs")
        it.time.shift(1000)
        await it.poll("runs")

        assert () == poll.failures
        assert [""] == [run.suite_id for run in readings(poll, Run)]
        assert MULTI not in it.account.sent

    async def test_that_fails_is_a_failure(self) -> None:
        """A list of multi-tests that fails must be a failure, and be asked for again."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        it.account.answers[MULTI] = httpx.Response(500)

        poll = await it.poll("runs")
        it.time.shift(60)
        await it.poll("runs")

        assert ["200001"] == [failure.target for failure in poll.failures]
        assert MULTI in it.account.sent

    async def test_turns_pages(self) -> None:
        """All multi-tests of the workspace are found; a list that is short is a failure."""
        it = bench(unnamed(1))
        it.account.at(100, 1)
        rows = [{"id": n, "name": f"M {n}", "lastRunTime": BASE - n} for n in range(1, 11)]
        it.account.answers[MULTI] = ok(rows, limit=10, total=12)
        last = [{"id": 11, "name": "M 11", "lastRunTime": BASE}]
        it.account.answers[f"{MULTI}&skip=10"] = ok(last, limit=10, total=12)
        it.account.answers["masters?collectionId=11"] = ok([unnamed(1)])

        poll = await it.poll("runs")

        assert ["multi-11"] == [run.suite_id for run in readings(poll, Run)]
        assert ["200001"] == [failure.target for failure in poll.failures]
        assert 1 == it.surprises("incomplete_list")

    async def test_is_not_made_without_a_need(self) -> None:
        """Multi-tests must not be listed while every run names its test."""
        it = bench(ended_row(1))

        await it.poll("runs")

        assert MULTI not in it.account.sent
