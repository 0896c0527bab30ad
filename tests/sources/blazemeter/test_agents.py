from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import CallError, Reason
from exporter.fleet.readings import Agent, AgentState
from tests.sources.blazemeter.support import BASE, Account, Bench, document, exposed, ok, readings


FIRST, SECOND = "private-locations?workspaceId=200001", "private-locations?workspaceId=200002"


def bench(fixture: str = "private_locations", **settings: Any) -> Bench:
    """Make a source with one workspace."""
    account = Account()
    account.fixture(FIRST, fixture)
    return Bench(account, **{"workspaces": [200001], **settings})


def ship(**fields: Any) -> Any:
    """Make a list of one location with one agent."""
    return ok([{"id": "aa", "name": "Lab", "ships": [{"id": "1", "name": "one", **fields}]}])


async def only_agent(bench: Bench) -> Agent:
    """Poll, and return the one agent."""
    (agent,) = readings(await bench.poll("agents"), Agent)
    return agent


class TestFixtures:
    async def test_reads_all_agents(self) -> None:
        """Fresh and idle, fresh and busy, dead for two weeks, never online."""
        it = bench(min_agent_version="3.7.50")
        now = it.time.clock.now()

        poll = await it.poll("agents")

        assert () == poll.failures
        assert [
            Agent(
                agent_id="64f0c2a1b7e3d90012ab3501",
                agent="dc1-agent-1",
                location="Datacentre 1",
                last_up_timestamp_seconds=BASE + 60,
                state=AgentState(
                    read_at=now,
                    up=True,
                    outdated=False,
                    version="3.7.55",
                    busy=False,
                    heartbeat_timestamp_seconds=1759999980,
                ),
            ),
            Agent(
                agent_id="64f0c2a1b7e3d90012ab3502",
                agent="dc1-agent-2",
                location="Datacentre 1",
                last_up_timestamp_seconds=BASE + 60,
                state=AgentState(
                    read_at=now,
                    up=True,
                    outdated=True,
                    version="3.7.41",
                    busy=True,
                    heartbeat_timestamp_seconds=1759999965,
                ),
            ),
            Agent(
                agent_id="64f0c2a1b7e3d90012ab3503",
                agent="dc1-agent-3",
                location="Datacentre 1",
                state=AgentState(
                    read_at=now,
                    up=False,
                    reason=Reason.NO_HEARTBEAT,
                    outdated=True,
                    version="3.6.10",
                    heartbeat_timestamp_seconds=1758790400,
                ),
            ),
            Agent(
                agent_id="64f0c2a1b7e3d90012ab3504",
                agent="k8s-agent-new",
                location="Cluster EU",
                state=AgentState(read_at=now, up=None, busy=False),
            ),
        ] == list(poll.readings)

    async def test_exposes_what_it_read(self) -> None:
        """The samples of a busy, of a dead and of a never connected agent."""
        _, busy, dead, new = readings(await bench(min_agent_version="3.7.50").poll("agents"), Agent)

        assert {
            'agent_info{version="3.7.41",location="Datacentre 1"}': 1,
            "agent_last_up_timestamp_seconds": BASE + 60,
            "agent_up": 1,
            "agent_outdated": 1,
            "agent_heartbeat_timestamp_seconds": 1759999965,
            "agent_busy": 1,
        } == exposed(busy)
        assert {
            'agent_info{version="3.6.10",location="Datacentre 1"}': 1,
            "agent_up": 0,
            'agent_failure{reason="no_heartbeat"}': 1,
            "agent_outdated": 1,
            "agent_heartbeat_timestamp_seconds": 1758790400,
        } == exposed(dead)
        assert {'agent_info{location="Cluster EU"}': 1, "agent_busy": 0} == exposed(new)

    async def test_takes_a_missing_heartbeat_for_unknown(self) -> None:
        """Agents whose heartbeat the list lacks are neither up nor down."""
        agents = readings(await bench("private_locations.no_heartbeat").poll("agents"), Agent)

        assert [None] * 3 == [agent.state and agent.state.up for agent in agents]
        assert {'agent_info{location="Datacentre 1"}': 1, "agent_busy": 1} == exposed(agents[1])

    async def test_claims_nothing_of_versions_by_itself(self) -> None:
        """Without a configured minimum nobody is outdated, nor is anybody not."""
        agents = readings(await bench().poll("agents"), Agent)

        assert all(agent.state and agent.state.outdated is None for agent in agents)


class TestHeartbeat:
    @pytest.mark.parametrize(
        ("age", "up"),
        [(0, True), (300, True), (300.5, False), (1e6, False), (-1, True), (-300, True)],
    )
    async def test_decides_by_its_age(self, age: float, up: bool) -> None:
        """An agent is up for as long as its heartbeat is no older than the limit."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE + 60 - age, state="running")

        agent = await only_agent(it)

        assert agent.state is not None
        assert up is agent.state.up

    async def test_far_in_the_future_proves_nothing(self) -> None:
        """Clocks that disagree by more than the limit leave it open."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE + 60 + 301)

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.up is None

    @pytest.mark.parametrize("value", [1_760_000_000_000, -5, "1760000000", 1e300])
    async def test_that_is_no_time_is_a_surprise(self, value: object) -> None:
        """Milliseconds, negative numbers and text are no heartbeat."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=value)

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.up is None
        assert agent.state.heartbeat_timestamp_seconds is None
        assert it.surprises("type") == 1

    async def test_limit_is_configurable(self) -> None:
        """`heartbeat_max_age` replaces the 5 minutes."""
        it = bench(heartbeat_max_age="15d")

        agents = readings(await it.poll("agents"), Agent)

        assert agents[2].state is not None
        assert agents[2].state.up is True


class TestState:
    async def test_of_a_dead_agent_is_ignored(self) -> None:
        """A dead agent keeps saying `running`: nothing is said about what it does."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE - 9999, state="running")

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.busy is None

    async def test_that_is_unknown_is_not_busy(self) -> None:
        """Only `running` is busy; a new word is a surprise."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE, state="dreaming")

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.busy is False
        assert it.surprises("enum") == 1


class TestWorkspaces:
    async def test_share_a_location_that_counts_once(self) -> None:
        """A location that belongs to two workspaces gives each agent one reading."""
        it = bench(workspaces=[200001, 200002])
        shared = document("private_locations")["result"][1:2]
        it.account.answers[SECOND] = ok(shared)

        agents = readings(await it.poll("agents"), Agent)

        assert [FIRST, SECOND] == [key for key in it.account.sent if key != "user"]
        assert len(agents) == 4
        assert len({agent.agent_id for agent in agents}) == 4

    async def test_name_an_agent_as_the_first_of_them_does(self) -> None:
        """Of two descriptions of an agent the first counts, in one reply and over several."""
        it = bench(workspaces=[200001, 200002])
        first, second = {"id": "1", "name": "first"}, {"id": "1", "name": "second"}
        it.account.answers[FIRST] = ok([{"id": "aa", "ships": [first, second]}])
        it.account.answers[SECOND] = ok([{"id": "aa", "ships": [second]}])

        agent = await only_agent(it)

        assert ("first", "harbor-aa") == (agent.agent, agent.location)

    async def test_that_fail_keep_their_agents_until_they_expire(self) -> None:
        """The agents of an unreadable workspace stay as they were seen, then go."""
        it = bench(workspaces=[200001, 200002])
        it.account.answers[SECOND] = ship(lastHeartBeat=BASE)
        before = readings(await it.poll("agents"), Agent)
        del it.account.answers[FIRST]

        it.time.shift(60)
        poll = await it.poll("agents")

        assert [("200001", Reason.HTTP_4XX)] == [(f.target, f.reason) for f in poll.failures]
        kept = {agent.agent_id: agent for agent in readings(poll, Agent)}
        assert set(kept) == {agent.agent_id for agent in before}
        assert kept[before[0].agent_id] == before[0]
        it.time.shift(180)
        assert ["1"] == [agent.agent_id for agent in readings(await it.poll("agents"), Agent)]

    async def test_that_all_fail_end_the_poll(self) -> None:
        """When not one workspace can be read the poll fails."""
        it = bench()
        it.account.answers[FIRST] = lambda _: ok(None)

        with pytest.raises(CallError, match="lacks its result") as raised:
            await it.poll("agents")

        assert raised.value.reason is Reason.DECODE
        assert not it.source.up


async def test_last_up_survives_a_silence() -> None:
    """When an agent dies, the time it was last seen up stays."""
    it = bench()
    it.account.answers[FIRST] = ship(lastHeartBeat=BASE)
    await it.poll("agents")

    it.time.shift(600)
    agent = await only_agent(it)

    assert agent.state is not None
    assert agent.state.up is False
    assert BASE + 60 == agent.last_up_timestamp_seconds


async def test_a_deleted_agent_is_gone() -> None:
    """What the newest list does not hold is not reported."""
    it = bench()
    await it.poll("agents")
    it.account.answers[FIRST] = ok([])

    assert () == (await it.poll("agents")).readings


async def test_filters_by_name() -> None:
    """`include` and `exclude` choose by the agent's name."""
    it = bench(include={"agents": "dc1.*"}, exclude={"agents": ".*-3"})

    agents = readings(await it.poll("agents"), Agent)

    assert ["dc1-agent-1", "dc1-agent-2"] == [agent.agent for agent in agents]


async def test_an_agent_without_an_id_is_left_out() -> None:
    """It could not be told from others."""
    it = bench()
    it.account.answers[FIRST] = ok([{"id": "aa", "ships": [{"name": "nobody"}]}])

    assert () == (await it.poll("agents")).readings
    assert it.surprises("missing_field") == 1
