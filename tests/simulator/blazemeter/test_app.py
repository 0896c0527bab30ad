from __future__ import annotations

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
        """List the newest runs."""
        rows: list[dict[str, Any]] = (await self.get("/masters?limit=100"))["result"]
        return rows


@pytest.fixture
def api(time: FakeClock) -> Api:
    """An account that begins now."""
    return Api(time)


async def test_the_masters_list_has_the_fixture_s_shape(api: Api) -> None:
    """Each row looks like one of the printed ones, and the envelope like theirs."""
    example = fixture("blazemeter", "masters_list")

    reply = await api.get("/masters?workspaceId=200001&limit=50")

    assert [] == differences(reply, example)


async def test_lists_are_paged(api: Api) -> None:
    """Pages join to the whole list, the newest first, and the last one is short."""
    pages = [(await api.get(f"/masters?limit=50&skip={skip}"))["result"] for skip in (0, 50)]

    whole = pages[0] + pages[1]
    assert [50, 22] == [len(page) for page in pages]
    assert whole == await api.masters()
    assert whole == sorted(whole, key=lambda row: -row["created"])


async def test_ten_rows_are_the_default(api: Api) -> None:
    """Without a limit a page has ten rows."""
    assert 10 == len((await api.get("/masters"))["result"])


async def test_the_total_can_be_unknown(api: Api) -> None:
    """An account-wide list does not tell how long it is."""
    assert "n/a" == (await api.get("/masters?accountId=100001"))["total"]


async def test_runs_of_each_verdict_are_listed(api: Api) -> None:
    """The history shows every verdict there is, and runs in flight have none."""
    verdicts = {row.get("reportStatus") for row in await api.masters()}

    assert {"pass", "fail", "unset", "error", "abort", "noData", None} == verdicts


async def test_statuses_have_the_fixture_s_shape(api: Api) -> None:
    """The status of every run, with events and without, looks like a printed one."""
    with_events = fixture("blazemeter", "master_status.ended")
    without = fixture("blazemeter", "master_status.running.no_events")

    for row in await api.masters():
        path = f"/masters/{row['id']}/status"
        assert [] == differences(await api.get(path), with_events)
        assert [] == differences(await api.get(path + "?events=false"), without)


async def test_the_detail_has_the_fixture_s_shape(api: Api) -> None:
    """A passed run's own page has the printed keys."""
    passed = next(row for row in await api.masters() if row.get("reportStatus") == "pass")

    reply = await api.get(f"/masters/{passed['id']}")

    assert [] == differences(reply, fixture("blazemeter", "master_detail"))


@pytest.mark.parametrize(
    ("verdict", "name"), [("pass", "success"), ("fail", "failure"), ("error", "error")]
)
async def test_ci_statuses(api: Api, verdict: str, name: str) -> None:
    """Verdicts for build servers look like the printed ones."""
    row = next(row for row in await api.masters() if row.get("reportStatus") == verdict)

    reply = await api.get(f"/masters/{row['id']}/ci-status")

    example = fixture("blazemeter", f"ci_status.{name}")
    assert [] == differences(reply, example)
    assert example["result"]["status"] == reply["result"]["status"]


async def test_events_tell_the_exit_code(api: Api) -> None:
    """A run that passed exited with 0, one that failed for errors with 1."""
    rows = await api.masters()
    exits = []
    for verdict in ("pass", "error"):
        row = next(row for row in rows if row.get("reportStatus") == verdict)
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
    """One agent stops beating, one never did, one is not told, the rest beat on."""
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
    assert [True, True, False, True, False, False] == told
    assert 480 == pytest.approx(ages[2], abs=2)
    assert (time.unix, None) == (ages[4], ages[5])
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
    row = next(row for row in await api.masters() if row["testId"] == 14_000_001)

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

    location = (await api.get(path))["result"]
    servers = (await api.get(f"{path}/servers"))["result"]
    server = (await api.get(f"{path}/servers/{servers[0]['id']}"))["result"]

    assert listed == location
    assert (listed["ships"], servers[0]) == (servers, server)


async def test_a_login_that_is_no_base64_is_refused(api: Api) -> None:
    """Any nonsense in place of the key is a refusal, not a crash."""
    async with client(api.app) as caller:
        reply = await caller.get("/api/v4/user", headers={"Authorization": "Basic ?"})

    assert 401 == reply.status_code
