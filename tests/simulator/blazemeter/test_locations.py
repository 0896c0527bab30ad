from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from exporter.simulator.vendor import Command
from tests.simulator.callers import BlazeMeter
from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_many_locations_are_paged(time: FakeClock) -> None:
    """63 locations are two pages, and all agents are on them."""
    api = BlazeMeter(time, blazemeter_locations=63, blazemeter_agents=74)

    pages = [
        await api.get(f"/private-locations?accountId=100001&limit=1000&skip={skip}")
        for skip in (0, 50)
    ]

    assert [(63, 50), (63, 13)] == [(page["total"], len(page["result"])) for page in pages]
    locations = [location for page in pages for location in page["result"]]
    assert 63 == len({location["id"] for location in locations})
    assert 74 == len({ship["id"] for location in locations for ship in location["ships"]})


async def test_private_locations_have_the_fixture_s_shape(api: BlazeMeter) -> None:
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


async def test_one_location_belongs_to_both_workspaces(api: BlazeMeter) -> None:
    """The same id comes in both lists."""
    ids = [
        {row["id"] for row in (await api.get(f"/private-locations?workspaceId={n}"))["result"]}
        for n in (200001, 200002)
    ]

    assert 1 == len(ids[0] & ids[1])


async def test_heartbeats_tell_who_lives(api: BlazeMeter, time: FakeClock) -> None:
    """The heartbeats must show one agent that stopped, one that never beat, and living ones."""
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


async def test_servers_of_a_location(api: BlazeMeter) -> None:
    """A location's agents are listed alone too."""
    location = next(iter(api.account.locations))

    reply = await api.get(f"/private-locations/{location}/servers")

    assert [] == differences(reply, fixture("blazemeter", "private_location_servers"))


async def test_a_location_has_pages_of_its_own(api: BlazeMeter) -> None:
    """A location, its servers and each server must be readable by themselves."""
    (listed, *_) = (await api.get("/private-locations?workspaceId=200001"))["result"]
    path = f"/private-locations/{listed['id']}"

    found = (await api.get(path))["result"]
    location = found[0] if isinstance(found, list) else found
    servers = (await api.get(f"{path}/servers"))["result"]
    server = (await api.get(f"{path}/servers/{servers[0]['id']}"))["result"]

    assert listed == location
    assert (listed["ships"], servers[0]) == (servers, server)


async def test_both_shapes_of_one_location_occur(api: BlazeMeter) -> None:
    """The vendor's references print an object and an array of one."""
    found = [
        (await api.get(f"/private-locations/{key}"))["result"] for key in api.account.locations
    ]

    assert {dict, list} == {type(one) for one in found}


async def test_a_location_can_be_disabled(api: BlazeMeter) -> None:
    """A default location must be disabled, with one silent agent."""
    (closed,) = [
        row
        for row in (await api.get("/private-locations?accountId=100001"))["result"]
        if row["disabled"]
    ]

    assert ["closed-agent-1"] == [ship["name"] for ship in closed["ships"]]


async def test_agents_print_any_state_and_disk(api: BlazeMeter) -> None:
    """Agents must be able to have any state and disk, and locations no limits."""
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


async def test_heartbeats_and_date_are_by_one_clock(api: BlazeMeter, time: FakeClock) -> None:
    """A vendor's clock that is skewed must be so in the date and in the heartbeats."""
    api.portal.obey(Command(skew=-400))

    reply = await api.send("/private-locations?workspaceId=200001")

    date = parsedate_to_datetime(reply.headers["Date"]).timestamp()
    beat = reply.json()["result"][0]["ships"][0]["lastHeartBeat"]
    assert time.unix - 400 == pytest.approx(date, abs=1)
    assert 0 <= date - beat <= 60
