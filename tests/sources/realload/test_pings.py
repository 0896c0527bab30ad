from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from exporter.errors import BlockedError, PollError, Reason
from exporter.fleet.readings import Agent
from tests.support.clock import settle
from tests.support.realload import Rig, Script, reply


def listing(*ids: int) -> dict[str, Any]:
    return {
        "measuringAgentsArray": [
            {"agentId": number, "agentDescription": f"a{number}", "agentActive": True}
            for number in ids
        ],
        "isError": False,
    }


def by_id(answers: dict[int, Script], other: Script = "ok") -> Script:
    return lambda request: answers.get(request["agentId"], other)


def rig(ids: range, answers: dict[int, Script], **settings: Any) -> Rig:
    return Rig(
        {"getMeasuringAgents": listing(*ids), "pingMeasuringAgent": by_id(answers)}, **settings
    )


def verdicts(readings: Any) -> dict[str, tuple[bool | None, Reason | None] | None]:
    return {
        agent.agent_id: (agent.state.up, agent.state.reason) if agent.state else None
        for agent in readings
        if isinstance(agent, Agent)
    }


def agents_of(source: Rig) -> set[int]:
    """Return the ids of the agents that were pinged so far."""
    return {request["agentId"] for request in source.portal.requests if "agentId" in request}


async def test_blames_the_portal_for_nothing_when_no_ping_was_sent() -> None:
    """When the guard held all pings back, the portal must not be called slow."""
    source = rig(range(1, 4), {}, concurrency=3)
    await source.readings("agents")
    source.portal.script["pingMeasuringAgent"] = BlockedError("held back", retry_at=0.0)

    poll = await source.source.poll("agents")

    assert {Reason.BLOCKED} == {failure.reason for failure in poll.failures}
    assert (False, False) == (poll.asked, poll.vendor_slow)


@pytest.mark.parametrize("answer", [reply(b"", 502), reply(b"", 500), {"isError": True}])
async def test_one_targets_error_does_not_put_the_task_down(answer: Any) -> None:
    """A target's error must not put the task down while others answer."""
    source = rig(range(1, 4), {3: answer})

    poll = await source.source.poll("agents")

    assert (True, False) == (poll.asked, poll.vendor_slow)


async def test_the_errors_of_all_targets_put_the_task_down() -> None:
    """If the pings of all targets fail, the task must be down."""
    source = rig(range(1, 4), dict.fromkeys(range(1, 4), reply(b"", 502)))

    poll = await source.source.poll("agents")

    assert (False, False) == (poll.asked, poll.vendor_slow)


@pytest.mark.parametrize("ids", [range(0), range(1, 3)])
async def test_no_target_to_ask_puts_no_task_down(ids: range) -> None:
    """A task without active targets must not be down."""
    source = rig(ids, {})
    listed = listing(*ids)
    for agent in listed["measuringAgentsArray"]:
        agent["agentActive"] = False
    source.portal.script["getMeasuringAgents"] = listed

    poll = await source.source.poll("agents")

    assert (True, False) == (poll.asked, poll.vendor_slow)
    assert set() == agents_of(source)


async def test_odd_targets_keep_no_other_from_being_looked_at() -> None:
    """Errors that look like refusals use up room, but never that of targets that are down."""
    odd = {number: {"isError": True, "genericErrorText": "odd"} for number in range(1, 6)}
    source = rig(range(1, 21), {**odd, 10: "not_reachable", 11: "not_reachable"})
    asked: list[set[int]] = []

    for _ in range(20):
        before = len(source.portal.requests)
        # In the first minutes, so many new errors exceed the limit of suspect calls.
        with contextlib.suppress(PollError):
            await source.source.poll("agents")
        asked.append(
            {each["agentId"] for each in source.portal.requests[before:] if "agentId" in each}
        )
        await source.time.advance(60)

    assert all({*range(6, 21)} <= each for each in asked[3:])
    # One or two of them fit into a minute, and each gets its turn.
    assert {*odd} == set.union(*asked[-10:]) & {*odd}


async def test_bounds_the_calls_under_way() -> None:
    """No more calls than `concurrency` may be under way, however many targets there are."""
    source = rig(range(1, 41), {})

    async def some_turns(request: dict[str, Any]) -> None:
        del request
        for _ in range(10):
            await asyncio.sleep(0)

    source.portal.delay = some_turns

    await source.readings("agents")

    assert 3 == source.portal.most_under_way


async def test_calls_begin_one_after_the_other() -> None:
    """Calls must start one loop turn apart, so that their latencies are their own."""
    source = rig(range(1, 4), {})
    await source.readings("agents")
    turn = 0
    begun = []

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def some_turns(request: dict[str, Any]) -> None:
        if request["action"] == "pingMeasuringAgent":
            begun.append(turn)
        for _ in range(10):
            await asyncio.sleep(0)

    source.portal.delay = some_turns
    counting = asyncio.create_task(count_turns())

    await source.readings("agents")
    counting.cancel()

    assert len(begun) == len(set(begun)) == 3


async def test_starts_with_what_failed_last_time() -> None:
    """A target that failed in the last poll must be asked first in the next."""
    source = rig(range(1, 31), {17: "not_reachable"})
    await source.readings("agents")
    source.portal.requests.clear()

    await source.readings("agents")

    pinged = [request["agentId"] for request in source.portal.requests if "agentId" in request]
    assert 17 == pinged[0]


async def test_starts_with_what_was_slow_last_time() -> None:
    """The time in the queue is not the target's."""
    source = rig(range(1, 10), {})

    async def delay(request: dict[str, Any]) -> None:
        await source.time.clock.sleep(2.0 if request.get("agentId") == 7 else 0.1)

    source.portal.delay = delay
    for _ in range(2):
        source.portal.requests.clear()
        polling = asyncio.create_task(source.source.poll("agents"))
        while not polling.done():
            await source.time.advance(0.1)
        await polling

    pinged = [request["agentId"] for request in source.portal.requests if "agentId" in request]
    assert 7 == pinged[0]


async def test_lets_other_tasks_have_their_turn() -> None:
    """A poll of many targets does not hold up the calls of other tasks until its end."""
    source = rig(range(1, 200), {})

    async def delay(request: dict[str, Any]) -> None:
        del request
        await source.time.clock.sleep(0.1)

    source.portal.delay = delay
    agents = asyncio.create_task(source.source.poll("agents"))
    await source.time.advance(0.5)
    recorders = asyncio.create_task(source.source.poll("recorders"))
    await source.time.advance(2.0)

    assert recorders.done()
    assert not agents.done()
    agents.cancel()


async def test_leaves_room_beside_the_slow_ones() -> None:
    """Targets that hang take a part of the places only; the others go on."""
    dead = dict.fromkeys(range(1, 11), "not_reachable")
    source = rig(range(1, 21), dict(dead))
    await source.readings("agents")
    gate = asyncio.Event()
    answered: list[int] = []

    async def delay(request: dict[str, Any]) -> None:
        if request.get("agentId") in dead:
            await gate.wait()
        elif "agentId" in request:
            answered.append(request["agentId"])

    source.portal.delay = delay
    polling = asyncio.create_task(source.source.poll("agents"))
    while len(answered) < 10:
        await settle()

    gate.set()
    poll = await polling

    assert list(range(11, 21)) == sorted(answered)
    assert 20 == len(poll.readings)


async def test_ends_its_calls_when_it_is_cancelled() -> None:
    """A cancelled poll leaves the source usable."""
    source = rig(range(1, 10), {})
    gate = asyncio.Event()

    async def delay(request: dict[str, Any]) -> None:
        if "agentId" in request:
            await gate.wait()

    source.portal.delay = delay
    polling = asyncio.create_task(source.source.poll("agents"))
    while source.portal.under_way < 3:
        await settle()
    polling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await polling
    gate.set()

    assert 9 == len(await source.readings("agents"))
