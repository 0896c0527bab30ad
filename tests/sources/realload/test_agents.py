from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from exporter.errors import CallError, PollError, Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Agent, AgentState
from tests.support.realload import Rig, Script, exposed, fixture, reply


def rig(ping: Script = "ok", agents: Script = "ok") -> Rig:
    return Rig({"getMeasuringAgents": agents, "pingMeasuringAgent": ping})


def one_agent(**fields: object) -> dict[str, object]:
    item = {
        "agentId": 46,
        "agentActive": True,
        "agentDescription": "Local Agent",
        "agentHost": "192.0.2.46",
        "agentPort": 8080,
        "authToken": "OrKmpkbyNWEHok",
    }
    return {"measuringAgentsArray": [{**item, **fields}], "isError": False}


async def only(source: Rig) -> Agent:
    (agent,) = await source.readings("agents")
    assert isinstance(agent, Agent)
    return agent


@pytest.mark.parametrize("agent_id", [10**400 - 1, 2**63, "007", "7.0", "x", "", "7\n", True])
async def test_asks_nothing_about_an_id_that_is_none(agent_id: Any) -> None:
    """An agent whose id is no valid number must be left out, and not be pinged."""
    source = rig(agents=one_agent(agentId=agent_id))

    assert () == await source.readings("agents")
    assert "pingMeasuringAgent" not in source.portal.asked
    assert 1 == source.surprises("type")


async def test_reads_the_documented_list_and_ping() -> None:
    """The printed examples become exactly these readings."""
    source = rig()

    first, second, *_ = await source.readings("agents")

    assert (
        Agent(
            agent_id="46",
            agent="Local Agent",
            host="192.0.2.46",
            port="8080",
            active=True,
            protected=True,
            last_up_timestamp_seconds=1_700_000_000.0,
            state=AgentState(
                read_at=source.time.clock.now(),
                up=True,
                outdated=False,
                version="3.9.30",
                os="Linux",
                os_version="4.15.0-136-generic",
                java_version="11.0.1",
                java_vendor="Oracle Corporation",
                clock_delta_seconds=0.841,
                ping_duration_seconds=0.247,
                start_timestamp_seconds=1697323463.936,
                memory_limit_bytes=2147483648.0,
                users_limit=500.0,
                job_duration_limit_seconds=300.0,
            ),
        )
        == first
    )
    assert (
        Agent(
            agent_id="49",
            agent="Rasberry 1",
            host="192.0.2.49",
            port="8080",
            active=False,
            protected=False,
        )
        == second
    )


async def agents_of(source: Rig) -> list[Agent]:
    readings = await source.readings("agents")
    return [agent for agent in readings if isinstance(agent, Agent)]


async def test_exposes_the_documented_agent() -> None:
    """The printed examples become exactly these samples."""
    first, second, *_ = await rig().readings("agents")

    own = 'agent_id="46",agent="Local Agent"'
    assert {
        f'agent_info{{{own},host="192.0.2.46",port="8080",version="3.9.30",os="Linux",'
        'os_version="4.15.0-136-generic",java_version="11.0.1",'
        'java_vendor="Oracle Corporation",location="",managed=""}': 1,
        f"agent_active{{{own}}}": 1,
        f"agent_up{{{own}}}": 1,
        f"agent_outdated{{{own}}}": 0,
        f"agent_clock_delta_seconds{{{own}}}": 0.841,
        f"agent_ping_duration_seconds{{{own}}}": 0.247,
        f"agent_start_timestamp_seconds{{{own}}}": 1697323463.936,
        f"agent_last_up_timestamp_seconds{{{own}}}": 1_700_000_000,
        f"agent_memory_limit_bytes{{{own}}}": 2147483648,
        f"agent_users_limit{{{own}}}": 500,
        f"agent_job_duration_limit_seconds{{{own}}}": 300,
        f"agent_protected{{{own}}}": 1,
    } == exposed(first)
    own = 'agent_id="49",agent="Rasberry 1"'
    assert {
        f'agent_info{{{own},host="192.0.2.49",port="8080",version="",os="",os_version="",'
        'java_version="",java_vendor="",location="",managed=""}': 1,
        f"agent_active{{{own}}}": 0,
        f"agent_protected{{{own}}}": 0,
    } == exposed(second)


async def test_pings_no_inactive_agent() -> None:
    """An inactive agent must be shown, but not pinged."""
    source = rig()

    await source.readings("agents")

    pinged = [request["agentId"] for request in source.portal.requests if "agentId" in request]
    assert [46, 50, 51] == pinged


async def test_lists_alone_before_it_pings() -> None:
    """The proof, then the list, each alone; only then the pings."""
    source = rig()

    await source.readings("agents")

    assert ["getUserAccountInfo", "getMeasuringAgents"] == source.portal.asked[:2]
    assert {"pingMeasuringAgent"} == set(source.portal.asked[2:])


async def test_takes_minus_one_for_unlimited() -> None:
    """A limit of -1 is no quantity but infinity."""
    agent = await only(rig("unlimited", one_agent()))

    assert agent.state is not None
    assert (math.inf, math.inf) == (agent.state.users_limit, agent.state.job_duration_limit_seconds)


@pytest.mark.parametrize(
    ("case", "up", "reason", "outdated"),
    [
        ("not_reachable", False, Reason.NOT_REACHABLE, None),
        ("bad_token_inferred", False, Reason.NOT_REACHABLE, None),
        ("outdated", True, None, True),
        ("unknown_agent", False, Reason.UNKNOWN_ID, None),
        ("access_denied", False, Reason.ACCESS_DENIED, None),
    ],
)
async def test_reads_a_flag_as_the_agents_state(
    case: str, up: bool, reason: Reason | None, outdated: bool | None
) -> None:
    """A specific flag is data about the agent and no failure of the poll."""
    source = rig(case, one_agent())

    agent = await only(source)

    assert (
        AgentState(read_at=source.time.clock.now(), up=up, reason=reason, outdated=outdated)
        == agent.state
    )
    assert 1.0 == source.requests("pingMeasuringAgent", "ok")


async def test_shows_the_reason_while_an_agent_is_down() -> None:
    """An unreachable agent has `up` 0 and a reason, and nothing that was not read."""
    agent = await only(rig("not_reachable", one_agent()))

    own = 'agent_id="46",agent="Local Agent"'
    shown = exposed(agent)
    assert 0 == shown[f"agent_up{{{own}}}"]
    assert 1 == shown[f'agent_failure{{{own},reason="not_reachable"}}']
    assert f"agent_outdated{{{own}}}" not in shown


async def test_keeps_when_an_agent_was_last_up() -> None:
    """The time of the last good ping stays while the agent is down."""
    source = rig("ok", one_agent())
    await only(source)
    await source.time.advance(60)
    source.portal.script["pingMeasuringAgent"] = "not_reachable"

    agent = await only(source)

    assert 1_700_000_000.0 == agent.last_up_timestamp_seconds
    assert agent.state is not None
    assert agent.state.up is False


async def test_forgets_an_agent_that_left_the_list() -> None:
    """An agent that left the list must be gone, with everything that was kept of it."""
    source = rig("ok", one_agent())
    await only(source)
    source.portal.script["getMeasuringAgents"] = "empty"
    gone = await source.readings("agents")
    source.portal.script |= {
        "getMeasuringAgents": one_agent(),
        "pingMeasuringAgent": "not_reachable",
    }

    agent = await only(source)

    assert () == gone
    assert agent.last_up_timestamp_seconds is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(b"<html>", 502), Reason.HTTP_5XX),
        (reply(b"<html>", 404), Reason.HTTP_4XX),
        (CallError(Reason.CONNECT, "pingMeasuringAgent: refused"), Reason.CONNECT),
        (b"<html>", Reason.DECODE),
        ({"isError": False}, Reason.DECODE),
        (fixture("common.error_generic"), Reason.API_ERROR),
    ],
)
async def test_carries_the_state_over_a_failed_call(answer: Script, reason: Reason) -> None:
    """A failed call must keep the agent's state with its age."""
    source = rig("ok", one_agent())
    before = await only(source)
    await source.time.advance(60)
    source.portal.script["pingMeasuringAgent"] = answer

    poll = await source.source.poll("agents")

    assert (before,) == poll.readings
    assert [(reason, "46")] == [(failure.reason, failure.target) for failure in poll.failures]


async def test_carries_nothing_into_an_agent_switched_off() -> None:
    """An agent that became inactive has no state, whatever was known."""
    source = rig("ok", one_agent())
    await only(source)
    source.portal.script["getMeasuringAgents"] = one_agent(agentActive=False)

    agent = await only(source)

    assert (None, 1_700_000_000.0) == (agent.state, agent.last_up_timestamp_seconds)


async def test_tells_nothing_when_the_list_fails() -> None:
    """A failed list must fail the poll."""
    source = rig("ok", reply(b"", 503))

    with pytest.raises(PollError) as caught:
        await source.source.poll("agents")

    assert Reason.HTTP_5XX is caught.value.reason


async def test_reads_newer_fields_and_masked_tokens() -> None:
    """A masked token protects; without the key nothing is known."""
    masked, without = await agents_of(rig("ok", "newer_fields"))

    assert (True, None) == (masked.protected, without.protected)


async def test_keeps_the_first_of_two_with_the_same_id() -> None:
    """A duplicate is counted as a surprise and not shown."""
    agents = fixture("getMeasuringAgents.ok")
    agents["measuringAgentsArray"].append({"agentId": 46, "agentDescription": "again"})
    source = rig("ok", agents)

    found = await agents_of(source)

    assert ["Local Agent", "Rasberry 1", "Ubuntu 10", "Ubuntu 11"] == [a.agent for a in found]
    assert 1 == source.surprises("type")


async def test_takes_a_number_in_quotes_for_an_id() -> None:
    """The agent is the same one, and it is pinged by its number."""
    source = rig(agents=one_agent(agentId="46"))

    agent = await only(source)

    assert ("46", True) == (agent.agent_id, agent.state and agent.state.up)
    assert [46] == [each["agentId"] for each in source.portal.requests if "agentId" in each]


async def test_leaves_out_what_has_no_id() -> None:
    """An agent without an id can't be pinged or labelled."""
    agents = {"measuringAgentsArray": [{"agentDescription": "x"}, 7], "isError": False}
    source = rig("ok", agents)

    assert () == await source.readings("agents")
    assert (1, 1) == (source.surprises("missing_field"), source.surprises("type"))


async def test_watches_what_the_filters_say() -> None:
    """Excluded agents are neither shown nor pinged."""
    source = Rig(
        {"getMeasuringAgents": "ok", "pingMeasuringAgent": "ok"},
        include={"agents": "(?i)ubuntu.*"},
        exclude={"agents": ".*11"},
    )

    assert ["Ubuntu 10"] == [agent.agent for agent in await agents_of(source)]
    assert 1 == source.portal.asked.count("pingMeasuringAgent")


async def test_names_an_agent_without_description_by_its_id() -> None:
    """The label is never empty."""
    assert "46" == (await only(rig("ok", one_agent(agentDescription="")))).agent


async def test_accepts_a_reply_without_is_error() -> None:
    """A reply with its data must be accepted, even without the field `isError`."""
    body = fixture("pingMeasuringAgent.ok")
    del body["isError"]

    agent = await only(rig(body, one_agent()))

    assert agent.state is not None
    assert agent.state.up is True


async def test_reads_error_flags_that_are_numbers() -> None:
    """The API prints one and the same flag as a boolean and as a number."""
    flags = {"agentIdError": 0, "agentAccessDeniedError": 0, "agentVersionOutdatedError": 0}
    ping = {"isError": 1, "genericErrorText": "", "agentNotReachableError": 1, **flags}
    source = Rig({"getMeasuringAgents": "ok", "pingMeasuringAgent": ping})

    first, *_ = await source.readings("agents")

    assert isinstance(first, Agent)
    assert first.state is not None
    assert (False, Reason.NOT_REACHABLE) == (first.state.up, first.state.reason)


def pinged(**fields: object) -> dict[str, Any]:
    """Make the documented ping with other fields."""
    ping = fixture("pingMeasuringAgent.ok")
    ping["agentResponse"] |= fields
    return ping  # type: ignore[no-any-return]  # it is plain data


async def started(source: Rig) -> float | None:
    agent = await only(source)
    assert agent.state is not None
    return agent.state.start_timestamp_seconds


class TestStart:
    """The time at which an agent was started, by the exporter's clock."""

    MINUTE = 60_000

    async def test_does_not_depend_on_the_agents_clock(self) -> None:
        """The uptime must be the difference of the agent's own times, whatever its clock says."""
        theirs = 1_700_000_000_000 + 120 * self.MINUTE
        ping = pinged(systemTime=theirs, agentStartupTimeStamp=theirs - 110 * self.MINUTE)

        assert 1_700_000_000.0 - 110 * 60 == await started(rig(ping, one_agent()))

    @pytest.mark.parametrize(
        "fields",
        [
            {"systemTime": None},
            {"agentStartupTimeStamp": None},
            {"systemTime": -1},
            {"agentStartupTimeStamp": -1},
            {"agentStartupTimeStamp": 0},
            {"systemTime": "now"},
            {"systemTime": 1_622_836_702_171},
            {"systemTime": 1e308},
        ],
    )
    async def test_is_unknown_without_a_credible_uptime(self, fields: dict[str, Any]) -> None:
        """Without a credible uptime, the start time must be unknown."""
        assert None is await started(rig(pinged(**fields), one_agent()))

    async def test_stays_while_the_calls_take_longer_and_shorter(self) -> None:
        """A start time must stay the same while calls take longer or shorter."""
        source = rig(pinged(), one_agent())
        first = await started(source)
        seen = set()
        for seconds in (60.3, 59.1, 61.0, 60.0):
            await source.time.advance(seconds)
            up = round((source.time.unix - 1_700_000_000) / 60) * 60_000
            source.portal.script["pingMeasuringAgent"] = pinged(systemTime=1625513238236 + up)
            seen.add(await started(source))

        assert {first} == seen

    async def test_stays_over_a_call_that_took_long(self) -> None:
        """A start time must stay the same when a call takes long."""
        source = rig(pinged(), one_agent())
        first = await started(source)

        async def delay(request: dict[str, Any]) -> None:
            if request["action"] == "pingMeasuringAgent":
                await source.time.clock.sleep(9.0)

        source.portal.delay = delay
        polling = asyncio.create_task(started(source))
        await source.time.advance(10)

        assert first == await polling

    async def test_changes_with_a_restart(self) -> None:
        """A restart of the agent must change its start time."""
        source = rig(pinged(), one_agent())
        await started(source)
        await source.time.advance(60)
        source.portal.script["pingMeasuringAgent"] = pinged(
            systemTime=1_700_000_060_000, agentStartupTimeStamp=1_700_000_057_000
        )

        assert 1_700_000_057.0 == await started(source)

    async def test_outlives_a_restart_of_the_exporter(self) -> None:
        """A known start time must be kept over a restart of the exporter."""
        source = rig(pinged(), one_agent())
        before = await source.readings("agents")
        await source.time.advance(1.5)
        source.source = source.connect(known={"agents": before})

        after = await started(source)

        assert isinstance(before[0], Agent)
        assert before[0].state is not None
        assert before[0].state.start_timestamp_seconds == after


@pytest.mark.parametrize(
    ("size", "expected", "surprises"),
    [
        ("16,384 MB", 17179869184.0, 0),
        ("16 384 MB", 17179869184.0, 0),
        ("2 GB", 2147483648.0, 0),
        ("16.384 MB", None, 1),
        ("plenty", None, 1),
        ("2048", None, 1),
        ("", None, 0),
        ("-1", None, 0),
        (None, None, 0),
        (2048, None, 1),
    ],
)
async def test_counts_a_memory_that_cannot_be_read(
    size: object, expected: float | None, surprises: int
) -> None:
    """A size that cannot be read must be absent and counted as a surprise."""
    source = rig(pinged(javaMaxMemory=size), one_agent())

    agent = await only(source)

    assert agent.state is not None
    assert expected == agent.state.memory_limit_bytes
    assert surprises == source.surprises("type")


@pytest.mark.parametrize(
    ("fields", "managed"),
    [
        ({"isLaunchedByCloudCredits": True}, "vendor"),
        ({"isLaunchedByCloudCredits": 1, "createdBySystem": False}, "vendor"),
        ({"isLaunchedByCloudCredits": False, "createdBySystem": True}, ""),
        ({"createdBySystem": True}, ""),
        ({}, ""),
    ],
)
async def test_marks_agents_that_end_by_themselves(fields: dict[str, Any], managed: str) -> None:
    """Agents that the vendor ends must be marked, and judged like others."""
    agent = await only(rig("ok", one_agent(**fields)))

    assert managed == agent.managed
    assert agent.state is not None
    assert agent.state.up


@pytest.mark.parametrize("agents", ["ok", "empty"])
async def test_lists_all_agents(agents: str) -> None:
    """A poll must have the complete list, so that an empty one is doubted."""
    poll = await rig("ok", agents).source.poll("agents")

    assert (Kind.AGENT,) == poll.inventory
