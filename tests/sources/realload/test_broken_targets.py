"""Agents whose errors look like refusals must not keep the healthy ones from being read."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from exporter.fleet.readings import Agent
from tests.support.realload import Rig


if TYPE_CHECKING:
    from exporter.clock import Clock


AGENTS = range(1, 51)
INTERVAL_SECONDS = 60.0

#: The longest time of a call, which is accepted or refused at its end.
CALL_SECONDS = 0.2

PROOF = "getUserAccountInfo"
BARE = {"isError": True}
WORDS = (
    *("ash", "birch", "cedar", "elder", "fir", "hazel"),
    *("larch", "maple", "oak", "pine", "rowan", "yew"),
)

#: The broken agents' replies, by agent id.
ERRORS = {
    "bare": lambda _: BARE,
    "other digits": lambda agent: BARE | {"genericErrorText": f"error {agent + 16}"},
    "twelve texts": lambda agent: BARE | {"genericErrorText": f"no {WORDS[agent % 12]}"},
}

#: Sets of broken agents; the list has all agents in the order of their ids.
BROKEN = {
    "the first 10": frozenset(range(1, 11)),
    "10 spread": frozenset(range(3, 51, 5)),
    "the last 10": frozenset(range(41, 51)),
    "the first 25": frozenset(range(1, 26)),
    "25 spread": frozenset(range(2, 51, 2)),
    "the last 25": frozenset(range(26, 51)),
}

broken_ones = pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
errors = pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())


class Suspicion:
    """The calls of the last minute that may have been refused, judged by their replies.

    An error is harmless once the same target gave it again after an accepted proof; the digits in
    its text do not matter.

    Attributes:
        most: The largest number of such calls, those under way included.
    """

    def __init__(self, clock: Clock) -> None:
        self.most = 0
        self._clock = clock
        self._under_way = 0
        self._harmless: set[str] = set()
        self._proven: set[tuple[int, str]] = set()
        self._suspects: list[tuple[float, tuple[int, str]]] = []

    def sent(self) -> None:
        """Record a call."""
        self._under_way += 1
        since = self._clock.monotonic() - 60
        self._suspects = [each for each in self._suspects if each[0] > since]
        self.most = max(self.most, len(self._suspects) + self._under_way)

    def answered(self, request: dict[str, Any], answer: Any) -> None:
        """Record the end of a call."""
        self._under_way -= 1
        if request["action"] == PROOF:
            self._proven.update(error for _, error in self._suspects)
        if answer == "ok" or request["action"] != "pingMeasuringAgent":
            return
        kind = answer.get("genericErrorText", "").rstrip("0123456789")
        error = request["agentId"], kind
        if error in self._proven:
            self._harmless.add(kind)
            self._suspects = [each for each in self._suspects if each[1][1] != kind]
        elif kind not in self._harmless:
            self._suspects.append((self._clock.monotonic(), error))


class Broken:
    """A portal some of whose agents are broken, and a source over it, polled in simulated time.

    Attributes:
        agents: The broken agents, with their replies.
        revoked: Whether the token is refused.
        refused_at: The times of refused calls.
    """

    def __init__(self, agents: dict[int, Any], *, seed: int = 1) -> None:
        self.agents = agents
        self.revoked = False
        self.refused_at: list[float] = []
        self.pings = 0
        listing = [
            {"agentId": number, "agentDescription": f"a{number}", "agentActive": True}
            for number in AGENTS
        ]
        self.rig = Rig(
            {
                PROOF: self._answering("ok_inferred"),
                "getMeasuringAgents": self._answering(
                    {"measuringAgentsArray": listing, "isError": False}
                ),
                "pingMeasuringAgent": self._ping,
            }
        )
        self.rig.portal.delay = self._delay
        self.suspicion = Suspicion(self.rig.time.clock)
        self._chance = Random(seed)  # noqa: S311 - repeatable, not secret

    async def poll(self) -> dict[int, bool | None]:
        """Poll within one interval; return for each agent whether it is up, `None` if unknown."""
        polling = asyncio.create_task(self.rig.source.poll("agents"))
        end = self.rig.time.monotonic + INTERVAL_SECONDS
        while self.rig.time.monotonic < end and not polling.done():
            await self.rig.time.advance(0.1)
        assert polling.done()
        found = polling.result().readings
        return {
            int(agent.agent_id): agent.state.up if agent.state else None
            for agent in found
            if isinstance(agent, Agent)
        }

    async def minutes(self, count: int) -> None:
        """Poll every minute, whatever comes of it."""
        for _ in range(count):
            end = self.rig.time.monotonic + INTERVAL_SECONDS
            if not self.rig.source.blocked:
                polling = asyncio.create_task(self.rig.source.poll("agents"))
                while not polling.done():
                    await self.rig.time.advance(0.1)
                polling.exception()
            await self.rig.time.advance(max(0.0, end - self.rig.time.monotonic))

    @property
    def worst(self) -> int:
        """The most refusals in any minute."""
        times = self.refused_at
        return max(
            (sum(first <= other <= first + 60 for other in times) for first in times), default=0
        )

    async def _delay(self, request: dict[str, Any]) -> None:
        del request
        self.suspicion.sent()
        await self.rig.time.clock.sleep(self._chance.uniform(0.01, CALL_SECONDS))

    def _answering(self, answer: Any) -> Any:
        return lambda request: self._answered(request, answer)

    def _ping(self, request: dict[str, Any]) -> Any:
        self.pings += 1
        return self._answered(request, self.agents.get(request["agentId"], "ok"))

    def _answered(self, request: dict[str, Any], answer: Any) -> Any:
        if self.revoked:
            self.refused_at.append(self.rig.time.monotonic)
            return BARE
        self.suspicion.answered(request, answer)
        return answer


def shown(broken: frozenset[int]) -> dict[int, bool | None]:
    """Return what is to be known when all but the broken ones were reached."""
    return {number: None if number in broken else True for number in AGENTS}


@broken_ones
@errors
async def test_the_healthy_ones_are_shown_within_one_interval(
    broken: frozenset[int], error: Any
) -> None:
    """After a cold start, all healthy agents must be shown within one interval."""
    portal = Broken({number: error(number) for number in broken})

    states = await portal.poll()

    assert shown(broken) == states


@broken_ones
@errors
async def test_they_are_shown_ever_after(broken: frozenset[int], error: Any) -> None:
    """Healthy agents must be read in each poll, and the broken ones shown, also later."""
    portal = Broken({number: error(number) for number in broken})
    await portal.minutes(1)

    for _ in range(3):
        pinged = portal.pings
        states = await portal.poll()
        healthy = len(AGENTS) - len(broken)
        assert shown(broken) == states
        assert portal.pings - pinged >= healthy
        await portal.rig.time.advance(INTERVAL_SECONDS)


@broken_ones
@errors
async def test_few_calls_can_have_been_refused_at_any_time(
    broken: frozenset[int], error: Any
) -> None:
    """Three calls and a proof: an error counts until it is known to be the target's own."""
    portal = Broken({number: error(number) for number in broken})

    await portal.minutes(5)

    assert portal.suspicion.most <= 4


@pytest.mark.parametrize("ping", [1, 2, 3, 5, 8, 13, 21, 34])
@broken_ones
async def test_a_revocation_among_them_costs_no_lock_out(broken: frozenset[int], ping: int) -> None:
    """A refusal that reads like the error of a broken agent is noticed nevertheless."""
    portal = Broken(dict.fromkeys(broken, BARE), seed=ping)
    await portal.minutes(2)
    wanted = portal.pings + ping
    say = portal.rig.portal.script["pingMeasuringAgent"]

    def revoking(request: dict[str, Any]) -> Any:
        portal.revoked = portal.revoked or portal.pings + 1 >= wanted
        return say(request)  # type: ignore[operator]  # it is a function

    portal.rig.portal.script["pingMeasuringAgent"] = revoking

    await portal.minutes(10)

    assert 1 <= portal.worst <= 4
    assert portal.rig.source.auth_failed


@errors
async def test_one_that_is_mended_is_shown_at_the_next_poll(error: Any) -> None:
    """An agent that is mended must be shown by the next poll."""
    broken = BROKEN["25 spread"]
    portal = Broken({number: error(number) for number in broken})
    await portal.minutes(2)

    del portal.agents[2]
    states = await portal.poll()

    assert shown(broken - {2}) == states
