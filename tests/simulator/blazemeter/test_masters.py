from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    from tests.simulator.callers import BlazeMeter
    from tests.support.clock import FakeClock


FUNCTIONAL = ("functional_passed", "functional_failed", "functional_summary_only")


#: Tests whose runs are like the vendor's examples, by verdict.
CI_TESTS = {"pass": ["Checkout load"], "fail": ["Search soak"], "error": ["Nightly smoke"]}


async def test_the_masters_list_has_the_fixture_s_shape(api: BlazeMeter) -> None:
    """Each row of the list must have the keys and types of the vendor's examples."""
    example = fixture("blazemeter", "masters_list")
    others = [
        *fixture("blazemeter", "masters_list.multi_test")["result"],
        *(fixture("blazemeter", f"master_detail.{case}")["result"] for case in FUNCTIONAL),
    ]
    printed = {*example["result"][0], *(key for row in others for key in row)}

    reply = await api.get("/masters?workspaceId=200001&limit=50")

    assert example.keys() == reply.keys()
    for row in reply["result"]:
        if row.get("testId") in (None, 14_000_008):  # of a multi-test, or functional
            assert row.keys() <= printed | {"lastUpdate", "ended"}
        else:
            assert [] == differences(row, *example["result"])


async def test_runs_of_each_verdict_are_listed(api: BlazeMeter) -> None:
    """The history shows every verdict there is, and runs in flight have none."""
    verdicts = {row.get("reportStatus") for row in await api.masters()}

    assert {"pass", "fail", "unset", "error", "abort", "noData", None} == verdicts


async def test_statuses_have_the_fixture_s_shape(api: BlazeMeter) -> None:
    """The status of every run, with events and without, looks like a printed one."""
    with_events = fixture("blazemeter", "master_status.ended")
    without = fixture("blazemeter", "master_status.running.no_events")
    booting = fixture("blazemeter", "master_status.booting")
    assert "events" in booting["result"]

    for row in await api.masters():
        path = f"/masters/{row['id']}/status"
        assert [] == differences(await api.get(path), with_events)
        assert [] == differences(await api.get(path + "?events=false"), without)


async def test_the_detail_has_the_fixture_s_shape(api: BlazeMeter) -> None:
    """A passed run's own page has the printed keys."""
    passed = await api.newest("pass", testId=14_000_001)

    reply = await api.get(f"/masters/{passed['id']}")

    assert [] == differences(reply, fixture("blazemeter", "master_detail"))


@pytest.mark.parametrize(
    ("verdict", "name"), [("pass", "success"), ("fail", "failure"), ("error", "error")]
)
async def test_ci_statuses(api: BlazeMeter, verdict: str, name: str) -> None:
    """Verdicts for build servers look like the printed ones."""
    (test,) = [one for one in api.account.tests.values() if one.name in CI_TESTS[verdict]]
    row = await api.newest(verdict, testId=test.test_id)

    reply = await api.get(f"/masters/{row['id']}/ci-status")

    example = fixture("blazemeter", f"ci_status.{name}")
    assert [] == differences(reply, example)
    assert example["result"]["status"] == reply["result"]["status"]


async def test_events_tell_the_exit_code(api: BlazeMeter) -> None:
    """The exit code of a run must fit its verdict: 0 for passed, 1 for errors."""
    exits = []
    for verdict, test_id in (("pass", 14_000_001), ("error", 14_000_004)):
        row = await api.newest(verdict, testId=test_id)
        events = (await api.get(f"/masters/{row['id']}/status"))["result"]["events"]
        exits.append({e["message"] for e in events if "Exit" in e["message"]})

    assert [{"Taurus completed (Exit: 0)"}, {"Taurus completed (Exit: 1)"}] == exits


async def test_events_are_filtered_by_level(api: BlazeMeter) -> None:
    """The floor is INFO unless a level is asked for."""
    row = (await api.masters())[-1]
    counts = []
    for level in ("DEBUG", "INFO", "WARNING"):
        reply = await api.get(f"/masters/{row['id']}/status?level={level}")
        counts.append(len(reply["result"]["events"]))

    assert sorted(counts, reverse=True) == counts
    assert 3 == len(set(counts))


@pytest.mark.parametrize(("test", "name"), [(14_000_001, "test"), (14_000_002, "test.array")])
async def test_tests_have_the_fixture_s_shape(api: BlazeMeter, test: int, name: str) -> None:
    """A test is an object or an array of one, and bears its own name."""
    reply = await api.get(f"/tests/{test}")

    example = fixture("blazemeter", name)
    assert type(example["result"]) is type(reply["result"])
    (found,) = reply["result"] if isinstance(reply["result"], list) else [reply["result"]]
    (wanted,) = example["result"] if isinstance(example["result"], list) else [example["result"]]
    assert example.keys() == reply.keys()
    assert wanted.keys() == found.keys()
    assert api.account.tests[str(test)].name == found["name"]


async def test_a_multi_test_has_the_fixture_s_shape(api: BlazeMeter) -> None:
    """A multi-test must be found by its id and in the list, and not among the tests."""
    reply = await api.get("/multi-tests/14000007")
    listed = await api.get("/multi-tests?workspaceId=200001")
    tests = await api.get("/tests?workspaceId=200001&limit=50")

    assert [] == differences(reply, fixture("blazemeter", "multi_test"))
    assert "Checkout multi-test" == reply["result"]["name"]
    assert [reply["result"]] == listed["result"]
    assert 14_000_007 not in {test["id"] for test in tests["result"]}
    assert 404 == (await api.send("/tests/14000007")).status_code
    assert 404 == (await api.send("/multi-tests/14000001")).status_code


@pytest.mark.parametrize("named_by", ["", "collectionId", "testCollectionId"])
async def test_runs_of_a_multi_test(api: BlazeMeter, named_by: str) -> None:
    """The list can be asked for them; whether they name it is not documented."""
    api.account.change("tests", 14_000_007, named_by=named_by)

    rows = (await api.get("/masters?collectionId=14000007&limit=50"))["result"]

    assert len(api.account.tests["14000007"].runs(0)) == len(rows)
    assert all("testId" not in row for row in rows)
    assert {14_000_007 if named_by else None} == {row.get(named_by) for row in rows}
    assert [] == (await api.get("/masters?collectionId=14000001"))["result"]


async def test_a_run_has_a_name_of_its_own(api: BlazeMeter) -> None:
    """Each run must have a name of its own, a date or the pipeline's name."""
    names = {
        test_id: [row["name"] for row in await api.masters() if row.get("testId") == test_id]
        for test_id in (14_000_001, 14_000_002)
    }

    assert all(
        re.fullmatch(r"[A-Z][a-z]+_\d\d_\d+:\d\d [AP]M - Checkout load", name)
        for name in names[14_000_001]
    )
    assert "search soak #12" == names[14_000_002][0]
    assert all(len(found) == len({*found}) for found in names.values())


@pytest.mark.parametrize("verdict", ["pass", "fail"])
@pytest.mark.parametrize("told_by", ["passed", "functionalSummary"])
async def test_functional_runs_tell_their_verdict_otherwise(
    api: BlazeMeter, verdict: str, told_by: str
) -> None:
    """Functional runs must have their verdict in a flag or in the summary."""
    api.account.change("tests", 14_000_001, verdicts=[verdict], told_by=told_by)
    row = [row for row in await api.masters() if row.get("testId") == 14_000_001][-1]

    found = (await api.get(f"/masters/{row['id']}"))["result"]

    passed = verdict == "pass"
    assert "reportStatus" not in row
    assert "reportStatus" not in found
    assert (not passed) == found["functionalSummary"]["isFailed"]
    assert (passed if told_by == "passed" else None) == row["passed"]
    assert "functional" == found["executionMode"]


async def test_an_aborted_run_has_no_word_on_passing(api: BlazeMeter) -> None:
    """An abort is neither a pass nor a failure, and leaves no data."""
    row = await api.newest("abort")

    found = (await api.get(f"/masters/{row['id']}"))["result"]

    assert found.keys() == fixture("blazemeter", "master_detail.aborted")["result"].keys() | {
        "lastUpdate",
        "sessionsId",
    }


async def test_results_have_the_fixture_s_shape(api: BlazeMeter) -> None:
    """A finished run has one row for all labels, with or without numbers."""
    row = await api.newest("fail")
    path = f"/masters/{row['id']}/reports/default/summary"

    full = await api.get(path)
    api.account.change("tests", row["testId"], kpis=False)
    empty = await api.get(path)

    assert [] == differences(full, fixture("blazemeter", "summary.full"))
    (numbers,) = full["result"]["summary"]
    assert 0 < numbers["failed"] < numbers["hits"]
    assert numbers["hits"] == pytest.approx(numbers["hits_avg"] * numbers["duration"], rel=0.01)
    (nothing,) = empty["result"]["summary"]
    assert {"ALL", None} == {*nothing.values()}


async def test_a_run_without_data_has_no_results(api: BlazeMeter) -> None:
    """The summary is there, and empty."""
    row = await api.newest("error")

    reply = await api.get(f"/masters/{row['id']}/reports/default/summary")

    assert [] == reply["result"]["summary"]


async def test_a_run_that_waits_for_its_start(api: BlazeMeter, time: FakeClock) -> None:
    """A run that waits for its start must be ready, with fewer engines than planned."""
    test = api.account.tests["14000001"]
    test.waits_seconds, test.servers, test.missing_servers = 7200, 5, 3
    test.latest_seconds, test.engines, test.period_seconds = 0.0, 1, 90_000
    time.shift(4020)
    row = next(row for row in await api.masters() if row.get("testId") == 14_000_001)

    reply = await api.get(f"/masters/{row['id']}/status?events=false")

    example = fixture("blazemeter", "master_status.delayed_start")
    (session,) = reply["result"]["sessions"]
    assert [] == differences(reply, example)
    assert example["result"]["status"] == reply["result"]["status"]
    assert (2, 5, True) == (
        len(session["readyStatus"]["servers"]),
        session["readyStatus"]["plannedServersCount"],
        session["readyStatus"]["isDelayedStart"],
    )
    assert row["delayedStartReady"] is True


async def test_a_run_passes_although_an_engine_failed(api: BlazeMeter) -> None:
    """A run must be able to pass with an engine's failure in the events and in the CI status."""
    rows = (await api.get("/masters?collectionId=14000007&limit=50"))["result"]
    row = next(row for row in rows if row.get("reportStatus") == "pass")

    events = (await api.get(f"/masters/{row['id']}/status"))["result"]["events"]
    verdict = (await api.get(f"/masters/{row['id']}/ci-status"))["result"]

    assert ["Taurus completed (Exit: 1)"] == [
        e["message"] for e in events if "Exit" in e["message"]
    ]
    assert [61_700] == [error["code"] for error in verdict["errors"]]


async def test_a_run_ends_before_one_s_eyes(api: BlazeMeter, time: FakeClock) -> None:
    """In a default account, a run must end within the first minute."""
    seen = []
    for _ in range(6):
        row = next(row for row in await api.masters() if row.get("testId") == 14_000_001)
        seen.append((row["ended"] is not None, row.get("reportStatus")))
        time.shift(10)

    assert (False, None) == seen[0]
    assert (True, "unset") in seen
    assert (True, "pass") == seen[4]


async def test_verdicts_can_take_turns(api: BlazeMeter) -> None:
    """The verdicts of a test's runs must follow the given sequence."""
    api.account.change("tests", 14_000_001, verdicts=["fail", "abort"], latest_seconds=300.0)

    rows = (await api.get("/masters?workspaceId=200001&testId=14000001"))["result"]

    assert ["abort", "fail", "abort"] == [row["reportStatus"] for row in rows[:3]]
