from __future__ import annotations

import httpx
import pytest

from exporter.fleet.readings import Run, Suite
from tests.sources.blazemeter.support import (
    BASE,
    LIST,
    Bench,
    bench,
    ended_row,
    exposed,
    ok,
    only,
    readings,
    row,
    status_of,
)
from tests.support.restart import Restarts


DAY = 86_400.0

FORBIDDEN = httpx.Response(403, json={"error": {"code": 403, "message": "Forbidden"}})


def named(it: Bench, run_id: int, name: str) -> None:
    """List one run in flight with a name."""
    it.account.answers[LIST] = ok([row(run_id, name=name)])
    it.account.at(100, run_id)


class TestName:
    async def test_is_the_tests_own(self) -> None:
        """Runs that a report renamed are runs of one suite, which is called as its test is."""
        it = bench()
        it.account.fixture(LIST, "masters_list.renamed")
        it.account.at(100, 82000102)
        it.account.suites(t7="Checkout")

        poll = await it.poll("runs")

        (run,), (suite,) = readings(poll, Run), readings(poll, Suite)
        assert ("checkout #102", "7") == (run.run, run.suite_id)
        assert ("7", "Checkout", False) == (suite.suite_id, suite.suite, suite.last_run_passed)
        assert ["82000101"] == [each.run_id for each in suite.history]

    async def test_of_a_multi_test_is_its_own(self) -> None:
        """The runs of a multi-test are called after the time of their start, the suite never."""
        it = bench()
        it.account.fixture(LIST, "masters_list.multi_test")
        it.account.fixture("multi-tests/77", "multi_test")
        it.account.at(100, 82000078)

        suite = await only(it, Suite)

        assert ("multi-77", "Checkout multi-test") == (suite.suite_id, suite.suite)
        assert (True, False) == (suite.running, suite.last_run_passed)

    @pytest.mark.parametrize("field", ["collectionId", "testCollectionId"])
    async def test_of_a_multi_test_is_not_that_of_a_test(self, field: str) -> None:
        """Tests and multi-tests are numbered apart: equal numbers are two suites."""
        it = bench(ended_row(1, testId=7), ended_row(2, **{"testId": None, field: 7}))
        it.account.suites(t7="Load", m7="All of it")

        suites = readings(await it.poll("runs"), Suite)

        assert {"7": "Load", "multi-7": "All of it"} == {s.suite_id: s.suite for s in suites}

    async def test_of_what_is_no_test_is_looked_for_among_multi_tests(self) -> None:
        """The id in `testId` may be a multi-test's."""
        it = bench(ended_row(1, testId=77, name="March_08_9:49 AM - Multi-Test"))
        it.account.fixture("multi-tests/77", "multi_test")

        assert "Checkout multi-test" == (await only(it, Suite)).suite

    @pytest.mark.parametrize("fixture", ["test", "test.array"])
    async def test_is_read_from_either_shape(self, fixture: str) -> None:
        """The reference prints an object at one place and an array of one at another."""
        it = bench(ended_row(1, testId=14000001, name="any"))
        it.account.fixture("tests/14000001", fixture)

        assert "Checkout load" == (await only(it, Suite)).suite
        assert 0 == it.surprises("type")

    async def test_is_read_once(self) -> None:
        """A test's name must be read once a day, whatever its runs are called."""
        it = bench(row(1, name="checkout #101"))
        it.account.at(100, 1)
        before = await only(it, Suite)
        named(it, 2, "checkout #102")

        it.time.shift(60)
        after = await only(it, Suite)

        assert "Load" == before.suite == after.suite
        assert "tests/7" not in it.account.sent

    async def test_is_renewed_after_a_day(self) -> None:
        """A test that was renamed is called by its new name a day later at the latest."""
        it = bench(row(1))
        it.account.at(100, 1)
        await it.poll("runs")
        it.account.suites(t7="Peak load")

        it.time.shift(DAY - 60)
        before = await only(it, Suite)
        it.time.shift(120)
        after = await only(it, Suite)

        assert ("Load", "Peak load") == (before.suite, after.suite)

    async def test_outlives_the_test(self) -> None:
        """A test that was deleted keeps the name it had."""
        it = bench(row(1))
        it.account.at(100, 1)
        await it.poll("runs")
        del it.account.answers["tests/7"]

        it.time.shift(DAY + 60)
        suite = await only(it, Suite)

        assert "tests/7" in it.account.sent
        assert "Load" == suite.suite

    async def test_of_a_test_that_was_deleted_before_is_its_id(self) -> None:
        """A test that was deleted must be named by its id, without a failure or another call."""
        it = bench(ended_row(1, testId=8))

        poll = await it.poll("runs")
        (suite,) = readings(poll, Suite)
        it.time.shift(60)
        await it.poll("runs")

        assert ("8", ()) == (suite.suite, poll.failures)
        assert "tests/8" not in it.account.sent

    async def test_that_is_refused_is_the_id(self) -> None:
        """The key may not read tests: that is no failure, and not asked for at every poll."""
        it = bench(ended_row(1))
        it.account.answers["tests/7"] = FORBIDDEN

        poll = await it.poll("runs")
        (suite,) = readings(poll, Suite)
        it.time.shift(1000)
        await it.poll("runs")

        assert ("7", ()) == (suite.suite, poll.failures)
        assert "tests/7" not in it.account.sent

    async def test_is_not_the_id_because_the_key_is_refused(self) -> None:
        """A key that is refused as a whole says nothing of the test."""
        it = bench(row(1))
        it.account.at(100, 1)
        it.account.answers["tests/7"] = httpx.Response(401, json={})
        proofs = iter([ok({"id": 1})])
        refused = httpx.Response(401, json={})
        it.account.answers["user"] = lambda _: next(proofs, refused)
        assert [] == readings(await it.poll("runs"), Suite)
        it.account.answers["user"] = ok({"id": 1})
        it.account.suites(t7="Load")

        it.time.shift(1000)
        suite = await only(it, Suite)

        assert "Load" == suite.suite

    async def test_may_be_missing_in_words_alone(self) -> None:
        """The vendor's own client looks among the multi-tests when a message says "not found"."""
        it = bench(ended_row(1, testId=77))
        gone = {"error": {"code": 1, "message": "Test Not Found"}, "result": None}
        it.account.answers["tests/77"] = httpx.Response(200, json=gone)
        it.account.fixture("multi-tests/77", "multi_test")

        assert "Checkout multi-test" == (await only(it, Suite)).suite

    async def test_that_cannot_be_read_hides_the_suite(self) -> None:
        """While nothing is known of the name there is no suite, but the run."""
        it = bench(row(1))
        it.account.at(100, 1)
        it.account.answers["tests/7"] = httpx.Response(500)

        poll = await it.poll("runs")
        it.account.suites(t7="Load")
        it.time.shift(60)
        later = await only(it, Suite)

        assert (1, 0) == (len(readings(poll, Run)), len(readings(poll, Suite)))
        assert ["7"] == [failure.target for failure in poll.failures]
        assert "Load" == later.suite

    @pytest.mark.parametrize("name", [None, "", "  ", 5])
    async def test_that_is_empty_is_the_id(self, name: object) -> None:
        """A suite is never called nothing."""
        it = bench(ended_row(1))
        it.account.answers["tests/7"] = ok({"id": 7, "name": name})

        assert "7" == (await only(it, Suite)).suite
        assert 1 == it.surprises("missing_field")

    @pytest.mark.parametrize("test_id", ["../user", "7/../../user", -1, 1.5, {}])
    async def test_is_not_asked_for_by_what_is_no_id(self, test_id: object) -> None:
        """A test id that is no number must never get into a path."""
        it = bench(ended_row(1, testId=test_id))

        poll = await it.poll("runs")

        assert [] == readings(poll, Suite)
        assert 1 == it.surprises("type")
        assert not any(key.startswith(("tests/", "multi-tests/")) for key in it.account.sent)

    async def test_survives_a_restart(self) -> None:
        """A name that is known costs no call after a restart."""
        it = bench(row(1))
        it.account.at(100, 1)
        restarts = Restarts(it, it.time)
        before = await restarts.poll("runs")

        restarts.restart(down_seconds=60)
        it.account.sent.clear()
        after = await restarts.poll("runs")

        assert [r.suite for r in before if isinstance(r, Suite)] == [
            r.suite for r in after if isinstance(r, Suite)
        ]
        assert "tests/7" not in it.account.sent


class TestManyNames:
    async def test_are_read_a_few_at_a_time(self) -> None:
        """The first poll of a large account does not fire all its calls at once."""
        rows = [ended_row(n, testId=n, ended=BASE - 9000) for n in range(1, 151)]
        it = bench(*rows)
        it.account.answers[f"{LIST}&skip=50"] = ok(rows[50:100])
        it.account.answers[LIST] = ok(rows[:50])
        it.account.answers[f"{LIST}&skip=100"] = ok(rows[100:])
        it.account.suites(**{f"t{n}": f"Test {n}" for n in range(1, 151)})

        known, calls = [], []
        for _ in range(4):
            known.append(len(readings(await it.poll("runs"), Suite)))
            calls.append(len(it.account.sent))
            it.time.shift(60)

        assert [60, 120, 150, 150] == known
        assert all(count <= 100 for count in calls)

    async def test_that_cannot_be_read_cost_few_calls(self) -> None:
        """A vendor that fails for hours is not asked for all of them in each poll."""
        rows = [ended_row(n, testId=n, ended=BASE - 9000) for n in range(1, 41)]
        it = bench(*rows)
        for n in range(1, 41):
            it.account.answers[f"tests/{n}"] = httpx.Response(500)

        calls = []
        for _ in range(3):
            it.account.sent.clear()
            await it.poll("runs")
            it.time.shift(60)
            calls.append(sum(key.startswith("tests/") for key in it.account.sent))

        assert [3, 3, 3] == calls

    async def test_that_cannot_be_read_hide_no_others(self) -> None:
        """The next poll begins with those of which nothing is known against it."""
        rows = [ended_row(n, testId=n, ended=BASE - 9000) for n in range(1, 11)]
        it = bench(*rows)
        it.account.suites(**{f"t{n}": f"Test {n}" for n in range(5, 11)})
        for n in range(1, 5):
            it.account.answers[f"tests/{n}"] = httpx.Response(500)

        await it.poll("runs")
        it.time.shift(60)
        poll = await it.poll("runs")

        assert {f"Test {n}" for n in range(5, 11)} == {s.suite for s in readings(poll, Suite)}

    async def test_begin_with_those_in_flight(self) -> None:
        """A run that goes on now is named before what ended yesterday."""
        rows = [ended_row(n, testId=n, ended=BASE - 9000) for n in range(1, 71)]
        it = bench(*rows, row(99, testId=99))
        it.account.at(100, 99)
        it.account.suites(**{f"t{n}": f"Test {n}" for n in range(1, 100)})

        suites = readings(await it.poll("runs"), Suite)

        assert "Test 99" in [suite.suite for suite in suites]

    async def test_that_are_all_refused_do_not_hold_the_source(self) -> None:
        """Refusals that concern the tests alone leave room for the other calls."""
        it = bench(*(ended_row(n, testId=n, ended=BASE - 9000) for n in range(1, 13)))
        for n in range(1, 13):
            it.account.answers[f"tests/{n}"] = FORBIDDEN

        asked = []
        for _ in range(12):
            await it.poll("runs")
            asked.append(sum(key.startswith("tests/") for key in it.account.sent))
            it.time.shift(60)
        poll = await it.poll("runs")

        assert 3 == max(asked)
        assert 12 == len(readings(poll, Suite))
        assert not it.source.auth_failed
        assert () == poll.failures


class TestFilters:
    async def test_are_about_the_tests_name(self) -> None:
        """A run of a wanted test may be called as it likes."""
        it = bench(
            row(1, name="Nightly #1"), row(2, testId=8, name="Load"), include={"suites": "Load"}
        )
        it.account.suites(t8="Other")
        it.account.at(100, 1, 2)

        poll = await it.poll("runs")

        assert ["1"] == [run.run_id for run in readings(poll, Run)]
        assert ["Load"] == [suite.suite for suite in readings(poll, Suite)]
        assert "masters/2/status" not in it.account.sent

    async def test_of_runs_leave_their_suites(self) -> None:
        """A run that is not to be shown is followed for its suite nevertheless."""
        it = bench(row(1), row(2, testId=8), exclude={"runs": "Load"})
        it.account.suites(t8="Other")
        it.account.at(100, 1, 2)

        poll = await it.poll("runs")

        assert ["2"] == [run.run_id for run in readings(poll, Run)]
        suites = readings(poll, Suite)
        assert {"Load": True, "Other": True} == {suite.suite: suite.running for suite in suites}

    async def test_of_runs_are_about_the_runs_name_where_there_is_no_suite(self) -> None:
        """A filter must match the name of a run that has no suite."""
        it = bench(
            row(1, testId=None, name="Wanted"),
            row(2, testId=None, name="Other"),
            include={"runs": "Wanted"},
        )
        it.account.at(100, 1, 2)

        assert "1" == (await only(it, Run)).run_id

    async def test_wait_for_the_name(self) -> None:
        """A run whose suite may be excluded must be shown only once its name is known."""
        it = bench(row(1), include={"suites": "Load"})
        it.account.at(100, 1)
        it.account.answers["tests/7"] = httpx.Response(500)
        before = readings(await it.poll("runs"), Run)
        it.account.suites(t7="Load")
        it.account.answers[LIST] = ok([])

        it.time.shift(60)
        after = readings(await it.poll("runs"), Run)

        assert (0, 1) == (len(before), len(after))

    async def test_wait_for_the_name_also_over_a_restart(self) -> None:
        """A run that ended while its suite's name could not be read is not lost."""
        it = bench(ended_row(1, ended=BASE - 100), include={"suites": "Load"})
        it.account.at(140, 1)
        it.account.answers["tests/7"] = httpx.Response(500)
        restarts = Restarts(it, it.time)
        await restarts.poll("runs")

        restarts.restart(down_seconds=60)
        it.account.answers[LIST] = ok([])
        it.account.suites(t7="Load")
        found = await restarts.poll("runs")

        assert ["1"] == [each.run_id for each in found if isinstance(each, Run)]


async def test_a_run_without_a_suite_names_none() -> None:
    """A run without a suite must have an empty one."""
    it = bench(row(1, testId=None))
    it.account.answers["masters/1/status"] = ok(status_of(100))

    poll = await it.poll("runs")

    (run,) = readings(poll, Run)
    assert "" == run.suite_id
    assert 1 == exposed(run)["run_info"]
    assert [] == readings(poll, Suite)
