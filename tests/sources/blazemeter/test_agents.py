from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import CallError, Reason
from exporter.fleet.readings import Agent, AgentState
from tests.sources.blazemeter.support import BASE, Account, Bench, document, exposed, ok, readings


if TYPE_CHECKING:
    import httpx


FIRST, SECOND = "private-locations?workspaceId=200001", "private-locations?workspaceId=200002"


def bench(fixture: str = "private_locations", **settings: Any) -> Bench:
    """Make a source with one workspace."""
    account = Account()
    account.fixture(FIRST, fixture)
    return Bench(account, **{"workspaces": [200001], **settings})


def ship(**fields: Any) -> Any:
    """Make a list of one location with one agent."""
    return ok([{"id": "aa", "name": "Lab", "ships": [{"id": "1", "name": "one", **fields}]}])


def dated(answer: httpx.Response, unix: float) -> httpx.Response:
    """Give an answer the time of the vendor's clock, as every reply has it."""
    answer.headers["date"] = format_datetime(datetime.fromtimestamp(unix, UTC), usegmt=True)
    return answer


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
                active=True,
                last_up_timestamp_seconds=BASE + 60,
                state=AgentState(
                    read_at=now,
                    up=True,
                    outdated=False,
                    version="3.7.55",
                    busy=False,
                    heartbeat_timestamp_seconds=1759999980,
                    disk_free_bytes=70525837312,
                ),
            ),
            Agent(
                agent_id="64f0c2a1b7e3d90012ab3502",
                agent="dc1-agent-2",
                location="Datacentre 1",
                active=True,
                last_up_timestamp_seconds=BASE + 60,
                state=AgentState(
                    read_at=now,
                    up=True,
                    outdated=True,
                    version="3.7.41",
                    busy=True,
                    heartbeat_timestamp_seconds=1759999965,
                    disk_free_bytes=70525837312,
                ),
            ),
            Agent(
                agent_id="64f0c2a1b7e3d90012ab3503",
                agent="dc1-agent-3",
                location="Datacentre 1",
                active=True,
                state=AgentState(
                    read_at=now,
                    up=False,
                    reason=Reason.NO_HEARTBEAT,
                    version="3.6.10",
                    heartbeat_timestamp_seconds=1758790400,
                    disk_free_bytes=70525837312,
                ),
            ),
            Agent(
                agent_id="64f0c2a1b7e3d90012ab3504",
                agent="k8s-agent-new",
                location="Cluster EU",
                active=True,
                state=AgentState(read_at=now, up=None),
            ),
        ] == readings(poll, Agent)

    async def test_exposes_what_it_read(self) -> None:
        """The samples of a busy, of a dead and of a never connected agent."""
        _, busy, dead, new = readings(await bench(min_agent_version="3.7.50").poll("agents"), Agent)

        assert {
            'agent_info{version="3.7.41",location="Datacentre 1"}': 1,
            "agent_active": 1,
            "agent_last_up_timestamp_seconds": BASE + 60,
            "agent_up": 1,
            "agent_outdated": 1,
            "agent_heartbeat_timestamp_seconds": 1759999965,
            "agent_busy": 1,
            "agent_disk_free_bytes": 70525837312,
        } == exposed(busy)
        assert {
            'agent_info{version="3.6.10",location="Datacentre 1"}': 1,
            "agent_active": 1,
            "agent_up": 0,
            'agent_failure{reason="no_heartbeat"}': 1,
            "agent_heartbeat_timestamp_seconds": 1758790400,
            "agent_disk_free_bytes": 70525837312,
        } == exposed(dead)
        assert {'agent_info{location="Cluster EU"}': 1, "agent_active": 1} == exposed(new)

    async def test_takes_a_missing_heartbeat_for_unknown(self) -> None:
        """Agents without a heartbeat in the list must be unknown."""
        agents = readings(await bench("private_locations.no_heartbeat").poll("agents"), Agent)

        assert [None] * 3 == [agent.state and agent.state.up for agent in agents]
        assert {'agent_info{location="Datacentre 1"}': 1, "agent_active": 1} == exposed(agents[1])

    async def test_claims_nothing_of_versions_by_itself(self) -> None:
        """Without a configured minimum version, no agent may be called outdated or current."""
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


class TestClock:
    @pytest.mark.parametrize("ours_is_ahead", [400, -400, 86_400.0 * 300, -86_400.0 * 300])
    async def test_of_ours_decides_nothing(self, ours_is_ahead: float) -> None:
        """The exporter's own clock must not decide whether an agent is up."""
        it = bench()
        it.account.answers[FIRST] = dated(ship(lastHeartBeat=BASE + 50), BASE + 60)
        it.time.unix = BASE + 60 + ours_is_ahead

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.up is True
        assert BASE + 50 == agent.state.heartbeat_timestamp_seconds
        assert it.time.unix == agent.last_up_timestamp_seconds

    @pytest.mark.parametrize(("age", "up"), [(300, True), (301, False), (-300, True), (-301, None)])
    async def test_of_the_vendor_decides(self, age: float, up: bool | None) -> None:
        """The age of a heartbeat must be counted up to the reply's date."""
        it = bench()
        it.account.answers[FIRST] = dated(ship(lastHeartBeat=BASE - age), BASE)
        it.time.unix = BASE + 9999

        agent = await only_agent(it)

        assert agent.state is not None
        assert up is agent.state.up

    @pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Xyz 2025 00:00:00 GMT"])
    async def test_of_ours_stands_in_where_the_vendor_tells_none(self, date: str | None) -> None:
        """A reply without a date that can be read is as old as its arrival."""
        it = bench()
        answer = ship(lastHeartBeat=BASE)
        if date is not None:
            answer.headers["date"] = date
        it.account.answers[FIRST] = answer
        it.time.unix = BASE + 301

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.up is False

    async def test_of_the_vendor_decides_for_a_single_agent(self) -> None:
        """An agent that is read alone must be up or down by the date of that reply."""
        it = bench()
        it.account.answers[FIRST] = dated(ship(lastHeartBeat=BASE), BASE)
        alone = ok([{"id": "1", "name": "one", "lastHeartBeat": BASE}])
        it.account.answers["private-locations/aa/servers"] = dated(alone, BASE + 301)
        it.time.unix = BASE

        reading = (await it.source.explain("agent", "1")).reading

        assert isinstance(reading, Agent)
        assert reading.state is not None
        assert reading.state.up is False


class TestState:
    @pytest.mark.parametrize(
        ("state", "busy"),
        [
            ("running", True),
            ("RUNNING", True),
            ("Running", True),
            ("idle", False),
            ("IDLE", False),
            ("empty", False),
            ("CREATED", False),
        ],
    )
    async def test_says_what_a_living_agent_does(self, state: str, busy: bool) -> None:
        """The known words count in any case."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE, state=state)

        agent = await only_agent(it)

        assert agent.state is not None
        assert busy is agent.state.busy
        assert it.surprises("enum") == 0

    @pytest.mark.parametrize("heartbeat", [BASE - 9999, 0, None])
    async def test_of_any_other_agent_is_ignored(self, heartbeat: float | None) -> None:
        """An agent that is dead or was never heard of may keep saying `running`."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=heartbeat, state="running")

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.busy is None

    async def test_that_is_unknown_says_nothing(self) -> None:
        """A new word is a surprise, and neither busy nor not."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE, state="dreaming")

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.busy is None
        assert it.surprises("enum") == 1

    async def test_may_be_missing(self) -> None:
        """Without a word nothing is said, and nothing is odd about it."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE, state="")

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.busy is None
        assert it.surprises("enum") == 0


class TestOutdated:
    @pytest.mark.parametrize(
        ("heartbeat", "version", "outdated"),
        [
            (BASE, "3.7.49", True),
            (BASE, "3.7.50", False),
            (BASE, "", None),
            (BASE - 9999, "3.7.49", None),
            (BASE - 9999, "3.7.50", None),
            (0, "3.7.49", None),
        ],
    )
    async def test_is_only_an_agent_that_is_up(
        self, heartbeat: float, version: str, outdated: bool | None
    ) -> None:
        """A dead agent has one trouble: it is dead."""
        it = bench(min_agent_version="3.7.50")
        it.account.answers[FIRST] = ship(lastHeartBeat=heartbeat, installedVersion=version)

        agent = await only_agent(it)

        assert agent.state is not None
        assert outdated is agent.state.outdated
        assert version == agent.state.version


class TestDisk:
    @pytest.mark.parametrize(
        ("disks", "free"),
        [
            ({"/": {"present": True, "freeSpace": 7}, "/x": {"present": True, "freeSpace": 5}}, 5),
            ({"/": {"present": True, "freeSpace": 7}, "/x": {"present": False}}, 7),
            ({"/": {"present": True, "freeSpace": 7}, "/x": {"present": True}}, 7),
            ({"/": {"present": False, "freeSpace": 5}, "/x": {"freeSpace": 7.0}}, 7),
            ({"/": {"present": True, "freeSpace": 0}}, 0),
            ({"/": {"present": True, "freePercent": 12}}, None),
            ({"/": {"present": True, "freeSpace": None}}, None),
            ({}, None),
            (None, None),
        ],
    )
    async def test_is_the_one_with_the_least_free_space(
        self, disks: Any, free: float | None
    ) -> None:
        """Only disks that are there and have a number count."""
        it = bench()
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE, hostInfo={"diskSpace": disks})

        agent = await only_agent(it)

        assert agent.state is not None
        assert free == agent.state.disk_free_bytes
        assert it.surprises("type") == 0

    @pytest.mark.parametrize("value", [-1, "5", [], 10**400])
    async def test_with_an_odd_number_is_passed_over(self, value: Any) -> None:
        """A disk with an odd number must be left out and counted, and the others read."""
        it = bench()
        disks = {"/": {"present": True, "freeSpace": value}, "/x": {"freeSpace": 9}}
        it.account.answers[FIRST] = ship(lastHeartBeat=BASE, hostInfo={"diskSpace": disks})

        agent = await only_agent(it)

        assert agent.state is not None
        assert agent.state.disk_free_bytes == 9
        assert it.surprises("type") == 1


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
        """The first description of an agent must count, in one list and over several."""
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
        assert poll.cut
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
    """An agent that the newest list lacks must not be reported."""
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
    """An agent without an id must be left out."""
    it = bench()
    it.account.answers[FIRST] = ok([{"id": "aa", "ships": [{"name": "nobody"}]}])

    assert [] == readings(await it.poll("agents"), Agent)
    assert it.surprises("missing_field") == 1
