from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

from exporter.simulator.blazemeter import app as blazemeter
from exporter.simulator.blazemeter.account import Account
from exporter.simulator.blazemeter.app import KEY_ID, KEY_SECRET
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.vendor import Command, Fault, Portal
from tests.simulator.callers import client
from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    import httpx

    from tests.support.clock import FakeClock


class Api:
    """A BlazeMeter API and a caller in front of it."""

    def __init__(self, time: FakeClock, **options: Any) -> None:
        self.account = Account(SimulatorOptions(**options), time.clock)
        self.app = blazemeter.app(self.account, SimulatorOptions(**options), time.clock)
        self.portal: Portal = self.app.state.portal

    async def send(
        self, path: str, *, secret: str = KEY_SECRET, method: str = "GET"
    ) -> httpx.Response:
        """Send a call."""
        async with client(self.app) as caller:
            return await caller.request(method, "/api/v4" + path, auth=(KEY_ID, secret))

    async def get(self, path: str) -> Any:
        """Send a GET and return the decoded reply."""
        return (await self.send(path)).json()

    async def masters(self) -> list[dict[str, Any]]:
        """List all runs, page by page, the newest first."""
        rows: list[dict[str, Any]] = []
        while page := (await self.get(f"/masters?limit=50&skip={len(rows)}"))["result"]:
            rows += page
        return rows

    async def newest(self, verdict: str | None = None, **fields: Any) -> dict[str, Any]:
        """Return the newest run that is told to have a verdict, and has certain fields."""
        return next(
            row
            for row in await self.masters()
            if row.get("reportStatus") == verdict and fields.items() <= row.items()
        )


FUNCTIONAL = ("functional_passed", "functional_failed", "functional_summary_only")


#: Whose runs look like the printed ones, by verdict.
CI_TESTS = {"pass": ["Checkout load"], "fail": ["Search soak"], "error": ["Nightly smoke"]}


@pytest.fixture
def api(time: FakeClock) -> Api:
    """An account that begins now."""
    return Api(time)


async def test_the_masters_list_has_the_fixture_s_shape(api: Api) -> None:
    """Each row looks like one of the printed ones, and the envelope like theirs."""
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


async def test_lists_are_paged(api: Api) -> None:
    """Pages join to the whole list, the newest first, none is too long, the last one is short."""
    pages = [await api.get(f"/masters?limit=1000&skip={skip}") for skip in (0, 50)]

    whole = [row for page in pages for row in page["result"]]
    assert [(50, 0, 96), (50, 50, 96)] == [
        (page["limit"], page["skip"], page["total"]) for page in pages
    ]
    assert [50, 46] == [len(page["result"]) for page in pages]
    assert whole == await api.masters()
    assert whole == sorted(whole, key=lambda row: -row["created"])


async def test_ten_rows_are_the_default(api: Api) -> None:
    """Without a limit a page has ten rows."""
    assert 10 == len((await api.get("/masters"))["result"])


async def test_the_total_can_be_unknown(api: Api) -> None:
    """An account-wide list does not tell how long it is, and if told so no list of runs does."""
    assert "n/a" == (await api.get("/masters?accountId=100001"))["total"]
    assert 96 > (await api.get("/masters?workspaceId=200001"))["total"]

    api.account.change("services", "main", totals_told=False)

    assert "n/a" == (await api.get("/masters?workspaceId=200001"))["total"]
    assert 4 == (await api.get("/private-locations?workspaceId=200001"))["total"]


async def test_pages_can_all_be_the_first_one(api: Api) -> None:
    """A server that ignores what is to be skipped repeats its rows."""
    api.account.change("services", "main", skip_ignored=True)

    pages = [(await api.get(f"/masters?limit=50&skip={skip}"))["result"] for skip in (0, 50)]

    assert pages[0] == pages[1]


async def test_a_list_can_be_shorter_than_its_total(api: Api) -> None:
    """The last row is missing, the total counts it."""
    api.account.change("services", "main", lost_rows=1)

    reply = await api.get("/private-locations?workspaceId=200001&limit=50")

    assert (4, 3) == (reply["total"], len(reply["result"]))


async def test_many_locations_are_paged(time: FakeClock) -> None:
    """63 locations are two pages, and all agents are on them."""
    api = Api(time, blazemeter_locations=63, blazemeter_agents=74)

    pages = [
        await api.get(f"/private-locations?accountId=100001&limit=1000&skip={skip}")
        for skip in (0, 50)
    ]

    assert [(63, 50), (63, 13)] == [(page["total"], len(page["result"])) for page in pages]
    locations = [location for page in pages for location in page["result"]]
    assert 63 == len({location["id"] for location in locations})
    assert 74 == len({ship["id"] for location in locations for ship in location["ships"]})


async def test_runs_of_each_verdict_are_listed(api: Api) -> None:
    """The history shows every verdict there is, and runs in flight have none."""
    verdicts = {row.get("reportStatus") for row in await api.masters()}

    assert {"pass", "fail", "unset", "error", "abort", "noData", None} == verdicts


async def test_statuses_have_the_fixture_s_shape(api: Api) -> None:
    """The status of every run, with events and without, looks like a printed one."""
    with_events = fixture("blazemeter", "master_status.ended")
    without = fixture("blazemeter", "master_status.running.no_events")
    booting = fixture("blazemeter", "master_status.booting")
    assert "events" in booting["result"]

    for row in await api.masters():
        path = f"/masters/{row['id']}/status"
        assert [] == differences(await api.get(path), with_events)
        assert [] == differences(await api.get(path + "?events=false"), without)


async def test_the_detail_has_the_fixture_s_shape(api: Api) -> None:
    """A passed run's own page has the printed keys."""
    passed = await api.newest("pass", testId=14_000_001)

    reply = await api.get(f"/masters/{passed['id']}")

    assert [] == differences(reply, fixture("blazemeter", "master_detail"))


@pytest.mark.parametrize(
    ("verdict", "name"), [("pass", "success"), ("fail", "failure"), ("error", "error")]
)
async def test_ci_statuses(api: Api, verdict: str, name: str) -> None:
    """Verdicts for build servers look like the printed ones."""
    (test,) = [one for one in api.account.tests.values() if one.name in CI_TESTS[verdict]]
    row = await api.newest(verdict, testId=test.test_id)

    reply = await api.get(f"/masters/{row['id']}/ci-status")

    example = fixture("blazemeter", f"ci_status.{name}")
    assert [] == differences(reply, example)
    assert example["result"]["status"] == reply["result"]["status"]


async def test_events_tell_the_exit_code(api: Api) -> None:
    """A run that passed exited with 0, one that failed for errors with 1."""
    exits = []
    for verdict, test_id in (("pass", 14_000_001), ("error", 14_000_004)):
        row = await api.newest(verdict, testId=test_id)
        events = (await api.get(f"/masters/{row['id']}/status"))["result"]["events"]
        exits.append({e["message"] for e in events if "Exit" in e["message"]})

    assert [{"Taurus completed (Exit: 0)"}, {"Taurus completed (Exit: 1)"}] == exits


async def test_events_are_filtered_by_level(api: Api) -> None:
    """The floor is INFO unless a level is asked for."""
    row = (await api.masters())[-1]
    counts = []
    for level in ("DEBUG", "INFO", "WARNING"):
        reply = await api.get(f"/masters/{row['id']}/status?level={level}")
        counts.append(len(reply["result"]["events"]))

    assert sorted(counts, reverse=True) == counts
    assert 3 == len(set(counts))


async def test_workspaces_have_the_fixture_s_shape(api: Api) -> None:
    """Two workspaces are listed."""
    reply = await api.get("/workspaces?accountId=100001")

    assert [] == differences(reply, fixture("blazemeter", "workspaces"))


async def test_private_locations_have_the_fixture_s_shape(api: Api) -> None:
    """Locations and agents have the printed keys, with and without a heartbeat."""
    reply = await api.get("/private-locations?workspaceId=200001")

    example = fixture("blazemeter", "private_locations")
    locations = example["result"]
    hidden = fixture("blazemeter", "private_locations.no_heartbeat")["result"]
    ships = [ship for location in locations + hidden for ship in location["ships"]]
    assert example.keys() == reply.keys()
    for location in reply["result"]:
        for ship in location["ships"]:
            assert [] == differences(ship, *ships)
        assert locations[0].keys() == location.keys()


async def test_one_location_belongs_to_both_workspaces(api: Api) -> None:
    """The same id comes in both lists."""
    ids = [
        {row["id"] for row in (await api.get(f"/private-locations?workspaceId={n}"))["result"]}
        for n in (200001, 200002)
    ]

    assert 1 == len(ids[0] & ids[1])


async def test_heartbeats_tell_who_lives(api: Api, time: FakeClock) -> None:
    """One agent stops beating, one has, one never did, one is not told, the rest beat on."""
    time.shift(600)

    ships = [
        ship
        for location in (await api.get("/private-locations?accountId=100001"))["result"]
        for ship in location["ships"]
    ]
    ages = [
        time.unix - ship["lastHeartBeat"] if "lastHeartBeat" in ship else None for ship in ships
    ]

    told = [age is not None and age <= 60 for age in ages]
    assert [True, True, False, True, False, False, False] == told
    assert 480 == pytest.approx(ages[2], abs=2)
    assert (time.unix, None, 3600) == (ages[4], ages[5], ages[6])
    assert 1 == len({ship.get("installedVersion") for ship in ships} & {"3.6.10"})


async def test_servers_of_a_location(api: Api) -> None:
    """A location's agents are listed alone too."""
    location = next(iter(api.account.locations))

    reply = await api.get(f"/private-locations/{location}/servers")

    assert [] == differences(reply, fixture("blazemeter", "private_location_servers"))


async def test_a_bad_key_is_refused(api: Api) -> None:
    """A wrong secret gets the printed error and is counted, but blocks nobody."""
    for _ in range(5):
        await api.send("/user", secret="wrong")

    reply = await api.send("/user", secret="wrong")

    assert 401 == reply.status_code
    assert fixture("blazemeter", "error.401") == reply.json()
    assert 6 == len(api.portal.refused)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/masters?workspaceId=200002", 403),
        ("/masters?workspaceId=1", 404),
        ("/masters/1/status", 404),
        ("/private-locations", 400),
        ("/nothing/there", 404),
    ],
)
async def test_errors(api: Api, path: str, status: int) -> None:
    """Forbidden, missing and malformed requests get their status and the vendor's error body."""
    api.account.change("workspaces", 200002, forbidden=True)

    reply = await api.send(path)

    assert status == reply.status_code
    assert [] == differences(reply.json(), fixture("blazemeter", "error.404"))


async def test_a_forbidden_run(api: Api) -> None:
    """A single run can be out of the key's reach."""
    api.account.change("tests", 14_000_001, forbidden=True)
    row = next(row for row in await api.masters() if row.get("testId") == 14_000_001)

    assert 403 == (await api.send(f"/masters/{row['id']}/status")).status_code


async def test_a_rate_limit(api: Api) -> None:
    """The fault has the vendor's body and a Retry-After."""
    api.portal.obey(Command(fault=Fault.RATE_LIMITED))

    reply = await api.send("/user")

    assert fixture("blazemeter", "error.429") == reply.json()
    assert "30" == reply.headers["Retry-After"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_changes_are_violations(api: Api, method: str) -> None:
    """Anything but a GET is refused and noted."""
    reply = await api.send("/masters", method=method)

    assert 403 == reply.status_code
    assert [f"{method} /api/v4/masters"] == api.portal.violations


async def test_equal_seeds_give_equal_accounts(time: FakeClock) -> None:
    """The same seed tells the same story."""
    one, two, other = [await Api(time, seed=seed).masters() for seed in (5, 5, 6)]

    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/masters?limit=-1", 400),
        ("/masters?skip=x", 400),
        ("/masters?accountId=1", 404),
        ("/masters?workspaceId=1", 404),
        ("/masters/1", 404),
        ("/masters/{run}/status?level=LOUD", 400),
        ("/private-locations", 400),
        ("/private-locations/none", 404),
        ("/private-locations/{location}/servers/none", 404),
    ],
)
async def test_wrong_questions_are_refused(api: Api, path: str, status: int) -> None:
    """A client that asks for what does not exist must see it as it would at the vendor."""
    run = (await api.masters())[0]["id"]
    location = next(iter(api.account.locations))

    reply = await api.send(path.format(run=run, location=location))

    assert status == reply.status_code
    assert status == reply.json()["error"]["code"]


async def test_a_location_has_pages_of_its_own(api: Api) -> None:
    """Location, its servers and each server tell what the list tells."""
    (listed, *_) = (await api.get("/private-locations?workspaceId=200001"))["result"]
    path = f"/private-locations/{listed['id']}"

    found = (await api.get(path))["result"]
    location = found[0] if isinstance(found, list) else found
    servers = (await api.get(f"{path}/servers"))["result"]
    server = (await api.get(f"{path}/servers/{servers[0]['id']}"))["result"]

    assert listed == location
    assert (listed["ships"], servers[0]) == (servers, server)


async def test_both_shapes_of_one_location_occur(api: Api) -> None:
    """The vendor's references print an object and an array of one."""
    found = [
        (await api.get(f"/private-locations/{key}"))["result"] for key in api.account.locations
    ]

    assert {dict, list} == {type(one) for one in found}


@pytest.mark.parametrize(("test", "name"), [(14_000_001, "test"), (14_000_002, "test.array")])
async def test_tests_have_the_fixture_s_shape(api: Api, test: int, name: str) -> None:
    """A test is an object or an array of one, and bears its own name."""
    reply = await api.get(f"/tests/{test}")

    example = fixture("blazemeter", name)
    assert type(example["result"]) is type(reply["result"])
    (found,) = reply["result"] if isinstance(reply["result"], list) else [reply["result"]]
    (wanted,) = example["result"] if isinstance(example["result"], list) else [example["result"]]
    assert example.keys() == reply.keys()
    assert wanted.keys() == found.keys()
    assert api.account.tests[str(test)].name == found["name"]


async def test_a_multi_test_has_the_fixture_s_shape(api: Api) -> None:
    """It is found by its id and in the list, but not among the tests."""
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
async def test_runs_of_a_multi_test(api: Api, named_by: str) -> None:
    """The list can be asked for them; whether they name it is not documented."""
    api.account.change("tests", 14_000_007, named_by=named_by)

    rows = (await api.get("/masters?collectionId=14000007&limit=50"))["result"]

    assert len(api.account.tests["14000007"].runs(0)) == len(rows)
    assert all("testId" not in row for row in rows)
    assert {14_000_007 if named_by else None} == {row.get(named_by) for row in rows}
    assert [] == (await api.get("/masters?collectionId=14000001"))["result"]


async def test_a_run_has_a_name_of_its_own(api: Api) -> None:
    """It is that of the report: a date, or what the pipeline calls it."""
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
    api: Api, verdict: str, told_by: str
) -> None:
    """Some masters have no report status, but a flag, or nothing but a summary."""
    api.account.change("tests", 14_000_001, verdicts=[verdict], told_by=told_by)
    row = [row for row in await api.masters() if row.get("testId") == 14_000_001][-1]

    found = (await api.get(f"/masters/{row['id']}"))["result"]

    passed = verdict == "pass"
    assert "reportStatus" not in row
    assert "reportStatus" not in found
    assert (not passed) == found["functionalSummary"]["isFailed"]
    assert (passed if told_by == "passed" else None) == row["passed"]
    assert "functional" == found["executionMode"]


async def test_an_aborted_run_has_no_word_on_passing(api: Api) -> None:
    """An abort is neither a pass nor a failure, and leaves no data."""
    row = await api.newest("abort")

    found = (await api.get(f"/masters/{row['id']}"))["result"]

    assert found.keys() == fixture("blazemeter", "master_detail.aborted")["result"].keys() | {
        "lastUpdate",
        "sessionsId",
    }


async def test_results_have_the_fixture_s_shape(api: Api) -> None:
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


async def test_a_run_without_data_has_no_results(api: Api) -> None:
    """The summary is there, and empty."""
    row = await api.newest("error")

    reply = await api.get(f"/masters/{row['id']}/reports/default/summary")

    assert [] == reply["result"]["summary"]


async def test_a_run_that_waits_for_its_start(api: Api, time: FakeClock) -> None:
    """It is ready, says so, and has less engines than planned."""
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


async def test_a_run_passes_although_an_engine_failed(api: Api) -> None:
    """The exit code is in the events, and build servers are told."""
    rows = (await api.get("/masters?collectionId=14000007&limit=50"))["result"]
    row = next(row for row in rows if row.get("reportStatus") == "pass")

    events = (await api.get(f"/masters/{row['id']}/status"))["result"]["events"]
    verdict = (await api.get(f"/masters/{row['id']}/ci-status"))["result"]

    assert ["Taurus completed (Exit: 1)"] == [
        e["message"] for e in events if "Exit" in e["message"]
    ]
    assert [61_700] == [error["code"] for error in verdict["errors"]]


async def test_a_location_can_be_disabled(api: Api) -> None:
    """One of the default ones is, and its only agent is silent."""
    (closed,) = [
        row
        for row in (await api.get("/private-locations?accountId=100001"))["result"]
        if row["disabled"]
    ]

    assert ["closed-agent-1"] == [ship["name"] for ship in closed["ships"]]


async def test_agents_print_any_state_and_disk(api: Api) -> None:
    """Upper case occurs, hosts on Kubernetes tell nothing, and a location may be unset."""
    first, second, *_ = api.account.ships
    api.account.change("ships", first, state="RUNNING", disk_free_bytes=1_000)
    api.account.change("ships", second, disk_free_bytes=None)
    home = api.account.ships[first].location_id
    api.account.change("locations", home, slots=None, threads_per_engine=None)

    (location, *_) = (await api.get("/private-locations?workspaceId=200001"))["result"]

    running, silent, *_ = location["ships"]
    assert "RUNNING" == running["state"]
    assert 1_000 == min(
        disk["freeSpace"] for disk in running["hostInfo"]["diskSpace"].values() if disk["present"]
    )
    assert "hostInfo" not in silent
    assert (None, None) == (location["slots"], location["threadsPerEngine"])


async def test_heartbeats_and_date_are_by_one_clock(api: Api, time: FakeClock) -> None:
    """A vendor whose clock differs from ours has it in every reply."""
    api.portal.obey(Command(skew=-400))

    reply = await api.send("/private-locations?workspaceId=200001")

    date = parsedate_to_datetime(reply.headers["Date"]).timestamp()
    beat = reply.json()["result"][0]["ships"][0]["lastHeartBeat"]
    assert time.unix - 400 == pytest.approx(date, abs=1)
    assert 0 <= date - beat <= 60


async def test_a_login_that_is_no_base64_is_refused(api: Api) -> None:
    """Any nonsense in place of the key is a refusal, not a crash."""
    async with client(api.app) as caller:
        reply = await caller.get("/api/v4/user", headers={"Authorization": "Basic ?"})

    assert 401 == reply.status_code
