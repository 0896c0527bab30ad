from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from exporter.errors import CallError, Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Agent, Location
from exporter.sources.decode import NOT_SHOWN
from tests.sources.blazemeter.support import BASE, Account, Bench, exposed, ok, readings


if TYPE_CHECKING:
    from exporter.sources.base import Poll


FIRST, SECOND = "private-locations?workspaceId=200001", "private-locations?workspaceId=200002"

#: Heartbeats of an agent that is up, of one that is down, and of one that was never heard of.
UP, DOWN, NEVER = BASE, BASE - 9999, 0


def bench(*rows: dict[str, Any], **settings: Any) -> Bench:
    """Make a source with one workspace that has some locations."""
    account = Account()
    account.answers[FIRST] = ok(list(rows))
    return Bench(account, **{"workspaces": [200001], **settings})


def location(*heartbeats: float, **fields: Any) -> dict[str, Any]:
    """Make a location with an agent for each heartbeat."""
    id_ = fields.get("id", "aa")
    ships = [
        {"id": f"{id_}-{number}", "name": f"agent-{id_}-{number}", "lastHeartBeat": each}
        for number, each in enumerate(heartbeats)
    ]
    return {"id": id_, "name": "Lab", "ships": ships, **fields}


async def only_location(it: Bench) -> Location:
    """Poll, and return the one location."""
    (found,) = readings(await it.poll("agents"), Location)
    return found


def names(poll: Poll) -> tuple[list[str], list[str]]:
    """Return the names of all locations and of all agents."""
    return (
        [each.location_name for each in readings(poll, Location)],
        [each.agent for each in readings(poll, Agent)],
    )


class TestFixtures:
    async def test_reads_all_locations(self) -> None:
        """Every location of the recorded list must be read."""
        account = Account()
        account.fixture(FIRST, "private_locations")
        it = Bench(account, workspaces=[200001])
        now = it.time.clock.now()

        poll = await it.poll("agents")

        assert [
            Location(
                location_id="64f0c2a1b7e3d90012ab34cd",
                location_name="Datacentre 1",
                read_at=now,
                active=True,
                agents=3,
                agents_up=2,
                slots=2,
                threads_per_engine=500,
            ),
            Location(
                location_id="64f0c2a1b7e3d90012ab34ce",
                location_name="Cluster EU",
                read_at=now,
                active=True,
                agents=1,
                slots=1,
            ),
            Location(
                location_id="64f0c2a1b7e3d90012ab34cf",
                location_name="Empty location",
                read_at=now,
                active=True,
                agents=0,
                agents_up=0,
                slots=1,
                threads_per_engine=300,
            ),
        ] == readings(poll, Location)
        assert (Kind.AGENT, Kind.LOCATION) == poll.inventory
        assert not poll.incomplete

    async def test_does_not_judge_the_agents_of_a_disabled_location(self) -> None:
        """In a disabled location, a silent agent's state must not be judged."""
        account = Account()
        account.fixture(FIRST, "private_locations.disabled")
        it = Bench(account, workspaces=[200001], min_agent_version="3.7.99")

        poll = await it.poll("agents")

        closed, unset = readings(poll, Location)
        silent, busy = readings(poll, Agent)
        assert {
            "location_info": 1,
            "location_active": 0,
            "location_agents": 1,
            "location_slots": 2,
            "location_threads_per_engine": 500,
        } == exposed(closed)
        assert {
            'agent_info{version="3.7.55",location="Datacentre closed"}': 1,
            "agent_active": 0,
            "agent_heartbeat_timestamp_seconds": 1758700000,
            "agent_disk_free_bytes": 70525837312,
        } == exposed(silent)
        assert {
            "location_info": 1,
            "location_active": 1,
            "location_agents": 1,
            "location_agents_up": 1,
        } == exposed(unset)
        assert exposed(busy)["agent_busy"] == 1

    async def test_reads_all_pages(self) -> None:
        """63 locations on two pages have 74 agents."""
        account = Account()
        account.fixture(FIRST, "private_locations.page1of2")
        account.fixture(f"{FIRST}&skip=50", "private_locations.page2of2")
        it = Bench(account, workspaces=[200001])

        poll = await it.poll("agents")

        locations, agents = names(poll)
        assert (63, 74) == (len(locations), len(agents))
        assert [FIRST, f"{FIRST}&skip=50"] == [key for key in it.account.sent if key != "user"]
        assert not poll.incomplete

    @pytest.mark.parametrize("second", ["page1of2", None])
    async def test_notices_that_a_page_is_missing(self, second: str | None) -> None:
        """A server that gives the first page again, or no other one, gives an incomplete list."""
        account = Account()
        account.fixture(FIRST, "private_locations.page1of2")
        if second:
            account.fixture(f"{FIRST}&skip=50", f"private_locations.{second}")
        it = Bench(account, workspaces=[200001])

        poll = await it.poll("agents")

        locations, agents = names(poll)
        assert (50, 61) == (len(locations), len(agents))
        assert poll.incomplete
        assert () == poll.failures

    async def test_fails_with_a_page(self) -> None:
        """Half a list would say that the other half is gone."""
        account = Account()
        account.fixture(FIRST, "private_locations.page1of2")
        account.answers[f"{FIRST}&skip=50"] = httpx.Response(500)
        it = Bench(account, workspaces=[200001])

        with pytest.raises(CallError) as raised:
            await it.poll("agents")

        assert Reason.HTTP_5XX is raised.value.reason


class TestAgentsUp:
    @pytest.mark.parametrize(
        ("heartbeats", "up"),
        [
            ((), 0),
            ((UP,), 1),
            ((UP, DOWN, UP), 2),
            ((DOWN, DOWN), 0),
            ((NEVER, DOWN), 0),
            ((NEVER, UP), 1),
            ((NEVER, NEVER), None),
        ],
    )
    async def test_are_counted(self, heartbeats: tuple[float, ...], up: float | None) -> None:
        """The number is not known while not one agent is known to be up or down."""
        it = bench(location(*heartbeats))

        found = await only_location(it)

        assert (len(heartbeats), up) == (found.agents, found.agents_up)

    @pytest.mark.parametrize("ships", [None, [{"id": "1"}]])
    async def test_are_unknown_with_agents_that_are_not_told(self, ships: Any) -> None:
        """A missing list of agents, or missing heartbeats, must not count as 0."""
        it = bench(location(ships=ships))

        assert (await only_location(it)).agents_up is None

    async def test_do_not_depend_on_which_agents_are_watched(self) -> None:
        """Filters of agents hide agents, not what a location has."""
        it = bench(location(UP, DOWN), exclude={"agents": ".*"})

        poll = await it.poll("agents")

        assert [(2, 1)] == [(each.agents, each.agents_up) for each in readings(poll, Location)]
        assert [] == readings(poll, Agent)


class TestCapacity:
    @pytest.mark.parametrize("value", [None, 0])
    async def test_that_is_not_set_is_absent(self, value: float | None) -> None:
        """No test can start there; that is no number to add up."""
        it = bench(location(slots=value, threadsPerEngine=value))

        found = await only_location(it)

        assert (None, None) == (found.slots, found.threads_per_engine)
        assert it.surprises("type") == 0

    @pytest.mark.parametrize("value", [-1, "2", 10**400])
    async def test_that_is_odd_is_absent(self, value: Any) -> None:
        """An odd value must be left out and counted as a surprise."""
        it = bench(location(slots=value, threadsPerEngine=value))

        found = await only_location(it)

        assert (None, None) == (found.slots, found.threads_per_engine)
        assert it.surprises("type") == 2


class TestDisabled:
    @pytest.mark.parametrize(("disabled", "active"), [(True, False), (False, True), (None, True)])
    async def test_is_a_location_that_says_so(self, disabled: bool | None, active: bool) -> None:
        """A location is disabled only if it says so: a missing or null field does not count."""
        it = bench(location(DOWN, disabled=disabled))

        (agent,) = readings(await it.poll("agents"), Agent)

        assert active is agent.active
        assert agent.state is not None
        assert (False if active else None) is agent.state.up

    async def test_once_more_makes_its_agents_down(self) -> None:
        """When a location is enabled, its silent agents must be down."""
        it = bench(location(DOWN, disabled=True))
        await it.poll("agents")
        it.account.answers[FIRST] = ok([location(DOWN, disabled=False)])

        (agent,) = readings(await it.poll("agents"), Agent)

        assert agent.state is not None
        assert (True, False) == (agent.active, agent.state.up)

    @pytest.mark.parametrize("first_is_disabled", [True, False])
    async def test_counts_not_for_an_agent_of_an_enabled_one(self, first_is_disabled: bool) -> None:
        """An agent of two locations must be judged if one of them is enabled."""
        ships = [{"id": "1", "lastHeartBeat": DOWN}]
        it = bench(
            {"id": "aa", "name": "One", "disabled": first_is_disabled, "ships": ships},
            {"id": "bb", "name": "Two", "disabled": not first_is_disabled, "ships": ships},
        )

        poll = await it.poll("agents")

        (agent,) = readings(poll, Agent)
        assert agent.state is not None
        assert (True, False) == (agent.active, agent.state.up)
        assert ("Two" if first_is_disabled else "One") == agent.location
        assert {True: 0, False: None} == {
            each.active: each.agents_up for each in readings(poll, Location)
        }


class TestIdentity:
    async def test_of_a_location_in_two_workspaces_is_one(self) -> None:
        """A location in two workspaces must count once, as the first one describes it."""
        it = bench(location(UP, DOWN), workspaces=[200001, 200002])
        it.account.answers[SECOND] = ok(
            [location(UP, slots=9), location(UP, id="bb", name="Attic")]
        )

        poll = await it.poll("agents")

        assert [("aa", 2, 1, None), ("bb", 1, 1, None)] == [
            (each.location_id, each.agents, each.agents_up, each.slots)
            for each in readings(poll, Location)
        ]
        assert len(readings(poll, Agent)) == 3

    async def test_without_a_name_is_the_id_of_runs(self) -> None:
        """A location without a name must be called as its agents' location."""
        it = bench(location(UP, name=None))

        poll = await it.poll("agents")

        assert ["harbor-aa"] == names(poll)[0]
        assert ["harbor-aa"] == [agent.location for agent in readings(poll, Agent)]

    async def test_without_an_id_there_is_none(self) -> None:
        """A location without an id must have no series, and its agents be read."""
        it = bench(location(UP, id=None))

        poll = await it.poll("agents")

        assert (0, 1) == tuple(map(len, names(poll)))
        assert it.surprises("missing_field") == 1


class TestFilters:
    @pytest.mark.parametrize(
        "filters", [{"include": {"locations": "Lab"}}, {"exclude": {"locations": "At.*"}}]
    )
    async def test_hold_for_agents_too(self, filters: Any) -> None:
        """A filter of locations must apply to the agents in them too."""
        it = bench(location(UP), location(UP, id="bb", name="Attic"), **filters)

        poll = await it.poll("agents")

        assert (["Lab"], ["agent-aa-0"]) == names(poll)

    async def test_leave_an_agent_to_the_location_that_is_watched(self) -> None:
        """An agent of two locations must belong to the one that is not excluded."""
        rows = location(UP, name="Attic"), location(id="bb", ships=location(UP)["ships"])
        it = bench(*rows, exclude={"locations": "Attic"})

        (agent,) = readings(await it.poll("agents"), Agent)

        assert "Lab" == agent.location


class TestWorkspaces:
    async def test_that_fail_keep_their_locations_until_they_expire(self) -> None:
        """A location of an unreadable workspace stays as it was seen."""
        it = bench(location(UP), workspaces=[200001, 200002])
        it.account.answers[SECOND] = ok([])
        before = readings(await it.poll("agents"), Location)
        it.account.answers[FIRST] = httpx.Response(500)

        it.time.shift(60)
        poll = await it.poll("agents")

        assert before == readings(poll, Location)
        it.time.shift(180)
        assert () == (await it.poll("agents")).readings

    async def test_with_a_short_list_are_carried_whole_when_the_next_one_fails(self) -> None:
        """Two faults in a row must remove no agent and no location."""
        it = bench(location(UP), location(UP, id="bb"), workspaces=[200001, 200002])
        it.account.answers[SECOND] = ok([])
        before = await it.poll("agents")
        it.account.answers[FIRST] = ok([location(UP)], total=2)
        short = await it.poll("agents")
        it.account.answers[FIRST] = httpx.Response(500)

        poll = await it.poll("agents")

        assert {"aa", "bb"} == {each.location_id for each in readings(poll, Location)}
        assert (4, 2, 4) == tuple(len(each.readings) for each in (before, short, poll))

    async def test_that_are_empty_are_doubted_also_when_the_next_one_fails(self) -> None:
        """The doubt about an emptied list must last when the next workspace's call fails."""
        it = bench(location(UP), workspaces=[200001, 200002])
        it.account.answers[SECOND] = ok([])
        await it.poll("agents")
        it.account.answers[FIRST] = ok([])
        await it.poll("agents")
        it.account.answers[SECOND] = httpx.Response(500)

        poll = await it.poll("agents")

        assert () == poll.readings
        assert (Kind.AGENT, Kind.LOCATION) == poll.inventory

    async def test_with_a_short_list_say_so_beside_one_that_fails(self) -> None:
        """A list known to be short must mark the poll as incomplete, whatever else fails."""
        it = bench(location(UP), workspaces=[200001, 200002])
        it.account.answers[SECOND] = httpx.Response(500)
        it.account.answers[FIRST] = ok([location(UP)], total=2)

        poll = await it.poll("agents")

        assert poll.incomplete
        assert (Kind.AGENT, Kind.LOCATION) == poll.inventory


class TestExplain:
    @pytest.mark.parametrize("listed", [True, False])
    async def test_reads_a_location_alone(self, listed: bool) -> None:
        """An explanation must read its location by one call, as an object or as a list."""
        it = bench(location(UP))
        now = location(UP, UP, DOWN, disabled=False, address="canary")
        it.account.answers["private-locations/aa"] = ok([now] if listed else now)

        explanation = await it.source.explain("location", "aa")

        assert isinstance(explanation.reading, Location)
        assert (3, 2) == (explanation.reading.agents, explanation.reading.agents_up)
        shown = explanation.reply["result"]
        shown = shown[0] if listed else shown
        assert ("Lab", NOT_SHOWN) == (shown["name"], shown["address"])

    @pytest.mark.parametrize("gone", [[], {}, {"id": "bb"}])
    async def test_knows_when_it_is_gone(self, gone: Any) -> None:
        """An empty answer, or one about another location, is none."""
        it = bench(location(UP))
        it.account.answers["private-locations/aa"] = ok(gone)

        with pytest.raises(LookupError, match="any more"):
            await it.source.explain("location", "aa")

    async def test_asks_about_locations_of_the_inventory_only(self) -> None:
        """No call may be sent for a location that is not in the inventory."""
        it = bench(location(UP))

        with pytest.raises(LookupError):
            await it.source.explain("location", "bb")

        assert "private-locations/bb" not in it.account.sent

    async def test_forgives_an_odd_value_in_a_list(self) -> None:
        """A value of a wrong type must cost that value only, in a list too."""
        it = bench(location(UP))
        it.account.answers["private-locations/aa"] = ok([location(UP, slots="many")])

        explanation = await it.source.explain("location", "aa")

        assert isinstance(explanation.reading, Location)
        assert (1, None) == (explanation.reading.agents_up, explanation.reading.slots)
        assert it.surprises("type") == 1


async def test_the_total_may_be_no_number() -> None:
    """`n/a` is what the vendor says of some lists, and no surprise."""
    it = bench()
    it.account.answers[FIRST] = ok([location(UP)], limit=50, skip=0, total="n/a", hidden=0)

    poll = await it.poll("agents")

    assert not poll.incomplete
    assert it.surprises("type") == 0
