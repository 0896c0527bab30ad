from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.simulator.callers import RealLoad, client
from tests.simulator.shapes import fixture
from tests.support.clock import FakeClock, settle


LIST = "getMeasuringAgents"


async def refusals(portal: RealLoad, count: int, **where: str) -> None:
    """Call with a bad token several times."""
    for _ in range(count):
        await portal.post(LIST, token="wrong", **where)


async def test_a_bad_token_gets_the_error_envelope(time: FakeClock) -> None:
    """A bad token must be answered with status 200 and an error without flags, by default."""
    portal = RealLoad(time)

    reply = await portal.post("pingMeasuringAgent", token="wrong", agentId=41)

    assert 200 == reply.status_code
    assert fixture("realload", "common.error_invalid_auth_token_inferred") == reply.json()
    assert [time.monotonic] == portal.portal.refused


@pytest.mark.parametrize(
    ("refusal", "status", "keys"), [("bare", 200, 1), ("flags", 200, 6), ("http_401", 401, 2)]
)
async def test_a_bad_token_can_be_answered_otherwise(
    time: FakeClock, refusal: str, status: int, keys: int
) -> None:
    """An answer that is not documented can be tried in other shapes."""
    portal = RealLoad(time)
    await portal.control(refusal=refusal)

    reply = await portal.post("pingMeasuringAgent", token="wrong", agentId=41)

    assert (status, keys) == (reply.status_code, len(reply.json()))


async def test_five_bad_tokens_block_the_address(time: FakeClock) -> None:
    """After the fifth within a minute even a good token is refused."""
    portal = RealLoad(time)
    await refusals(portal, 4)
    still = await portal.post(LIST)
    await refusals(portal, 1)

    reply = await portal.post(LIST)

    assert (200, 403) == (still.status_code, reply.status_code)
    assert 1 == portal.portal.blocked_calls


async def test_a_block_ends(time: FakeClock) -> None:
    """The block lasts as long as the options say."""
    portal = RealLoad(time, block_seconds=100)
    await refusals(portal, 5)
    time.shift(99)
    before = await portal.post(LIST)
    time.shift(2)

    after = await portal.post(LIST)

    assert (403, 200) == (before.status_code, after.status_code)


async def test_slow_refusals_do_not_block(time: FakeClock) -> None:
    """Five bad tokens in more than a minute are tolerated."""
    portal = RealLoad(time)
    for _ in range(10):
        await refusals(portal, 1)
        time.shift(16)

    assert 200 == (await portal.post(LIST)).status_code


async def test_only_the_caller_s_address_is_blocked(time: FakeClock) -> None:
    """Bad tokens are counted per address."""
    portal = RealLoad(time)
    await refusals(portal, 5, address="192.0.2.7")

    here, there = await portal.post(LIST), await portal.post(LIST, address="192.0.2.7")

    assert (200, 403) == (here.status_code, there.status_code)


async def test_bad_tokens_of_two_addresses_do_not_add_up(time: FakeClock) -> None:
    """Four bad tokens from each of two addresses block neither."""
    portal = RealLoad(time)
    await refusals(portal, 4)
    await refusals(portal, 4, address="192.0.2.7")

    here, there = await portal.post(LIST), await portal.post(LIST, address="192.0.2.7")

    assert (200, 200) == (here.status_code, there.status_code)


async def test_calls_are_counted(time: FakeClock) -> None:
    """Tests can ask what a portal was asked."""
    portal = RealLoad(time)
    await portal.post(LIST)
    await portal.post(LIST)

    async with client(portal.app) as caller:
        status = (await caller.get("/_control")).json()

    assert {LIST: 2} == portal.portal.calls == status["calls"]


async def test_the_token_can_be_replaced(time: FakeClock) -> None:
    """After a change of the token, only the new one must be accepted."""
    portal = RealLoad(time)
    await portal.control(token="other")

    old, new = await portal.call(LIST), await portal.call(LIST, token="other")

    assert (True, False) == (old["isError"], new["isError"])


async def test_a_revoked_token_leaves_none(time: FakeClock) -> None:
    """With null no token is accepted."""
    portal = RealLoad(time)
    await portal.control(token=None)

    assert (await portal.call(LIST))["isError"] is True


async def test_agents_are_changed_and_deleted(time: FakeClock) -> None:
    """The control interface reaches single agents."""
    portal = RealLoad(time, still=True)
    await portal.control(
        change={"agents": {"41": {"up": False}, "45": {"outdated": True}}},
        delete={"agents": ["46"]},
    )

    flags = []
    for agent_id in (41, 45, 46):
        reply = await portal.call("pingMeasuringAgent", agentId=agent_id)
        flags += [key for key, value in reply.items() if value is True and key != "isError"]

    assert ["agentNotReachableError", "agentVersionOutdatedError", "agentIdError"] == flags


@pytest.mark.parametrize(
    "command",
    [
        {"colour": "red"},
        {"fault": "slow"},
        {"change": {"agents": {"1": {"up": False}}}},
        {"delete": {"ships": ["1"]}},
    ],
)
async def test_impossible_commands_are_refused(time: FakeClock, command: dict[str, Any]) -> None:
    """An impossible command must be refused."""
    portal = RealLoad(time)

    assert 400 == (await portal.control(**command)).status_code


async def test_life_can_be_stopped(time: FakeClock) -> None:
    """A fleet that stands still stays as it is."""
    portal = RealLoad(time)
    await portal.control(still=True)
    time.shift(100)

    reply = await portal.call("pingMeasuringAgent", agentId=42)

    assert reply["isError"] is False


@pytest.mark.parametrize(
    ("fault", "status"),
    [("bad_gateway", 502), ("unavailable", 503), ("garbage", 200), ("rate_limited", 429)],
)
async def test_faults_replace_answers(time: FakeClock, fault: str, status: int) -> None:
    """Each fault has its status, and HTML where a proxy would answer."""
    portal = RealLoad(time)
    await portal.control(fault=fault)

    reply = await portal.post(LIST)

    assert status == reply.status_code
    assert (fault != "rate_limited") is reply.text.startswith("<html>")


async def test_faults_can_strike_single_actions(time: FakeClock) -> None:
    """The list works while the pings do not."""
    portal = RealLoad(time)
    await portal.control(fault="bad_gateway", fault_on=["pingMeasuringAgent"])

    listed, pinged = await portal.post(LIST), await portal.post("pingMeasuringAgent", agentId=41)

    assert (200, 502) == (listed.status_code, pinged.status_code)


async def test_a_share_of_calls_fails(time: FakeClock) -> None:
    """The fault rate strikes about so many calls, the same ones for the same seed."""
    outcomes = []
    for _ in range(2):
        portal = RealLoad(time, fault_rate=0.3)
        outcomes.append([(await portal.post("x")).status_code for _ in range(60)])

    assert outcomes[0] == outcomes[1]
    assert 8 < outcomes[0].count(502) < 30


@pytest.mark.parametrize(
    ("agent_id", "seconds"),
    [(41, 2.0), (44, 7.0), (45, 0.5)],
)
async def test_pings_take_their_time(time: FakeClock, agent_id: int, seconds: float) -> None:
    """A delay holds for all pings, more for dead agents, or for one agent alone."""
    portal = RealLoad(time, still=True, delay_seconds=2.0, dead_delay_seconds=5.0)
    portal.fleet.change("agents", 45, delay_seconds=0.5)

    call = asyncio.create_task(portal.call("pingMeasuringAgent", agentId=agent_id))
    await time.advance(seconds - 0.1)
    early = call.done()
    await time.advance(0.2)

    await call
    assert not early


async def test_lists_take_no_time(time: FakeClock) -> None:
    """Only calls that reach another machine are delayed."""
    portal = RealLoad(time, delay_seconds=100)

    assert (await portal.call(LIST))["isError"] is False


async def test_the_peak_is_kept(time: FakeClock) -> None:
    """The most calls in flight at once are known afterwards."""
    portal = RealLoad(time, delay_seconds=1)
    calls = [asyncio.create_task(portal.call("pingMeasuringAgent", agentId=41)) for _ in range(3)]
    await settle()
    await time.advance(2)

    await asyncio.gather(*calls)

    assert 3 == portal.portal.peak


async def test_a_portal_hangs_after_some_pings(time: FakeClock) -> None:
    """The first calls that a fault strikes can be answered well; others are answered always."""
    portal = RealLoad(time, still=True)
    await portal.control(fault="bad_gateway", fault_on=["pingMeasuringAgent"], fault_after=2)

    pings = [await portal.post("pingMeasuringAgent", agentId=41) for _ in range(3)]
    listed = await portal.post(LIST)

    assert [200, 200, 502] == [reply.status_code for reply in pings]
    assert 200 == listed.status_code


async def test_a_portal_is_slow_for_all(time: FakeClock) -> None:
    """With a spread, each ping must take a time of its own within the limits."""
    portal = RealLoad(time, still=True, delay_seconds=3.0)
    await portal.control(delay_spread=1.6)
    began, took = time.monotonic, []

    async def ping(agent_id: int) -> None:
        await portal.call("pingMeasuringAgent", agentId=agent_id)
        took.append(time.monotonic - began)

    calls = [asyncio.create_task(ping(agent_id)) for agent_id in range(41, 61)]
    await time.advance(10.0)
    await asyncio.gather(*calls)

    assert 20 == len({*took})
    assert all(3.0 <= seconds <= 4.6 for seconds in took)
    assert max(took) - min(took) > 0.8


async def test_replies_are_dated_by_the_vendor_s_clock(time: FakeClock) -> None:
    """A clock that is ahead shows in the header and in the reply alike."""
    portal = RealLoad(time, still=True)
    await portal.control(skew=400)

    reply = await portal.post("pingMeasuringAgent", agentId=41)

    date = parsedate_to_datetime(reply.headers["Date"]).timestamp()
    told = reply.json()["agentResponse"]
    assert time.unix + 400 == pytest.approx(date, abs=1)
    assert time.unix + 400 == (told["systemTime"] - told["deltaTimeMillis"]) / 1000
