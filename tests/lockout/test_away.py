"""Members on several hosts whose store goes away, comes back or loses its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.lockout.members import (
    BEAT_SECONDS,
    QUIET_SECONDS,
    SETTLING_SECONDS,
    TURN_SECONDS,
)
from exporter.lockout.policy import Policy
from exporter.state.base import RETRY_SECONDS
from tests.lockout.test_participants import CALLS, EXAMPLES, PHASES, RESTORES, SECRETS, histories
from tests.support.clock import FakeClock
from tests.support.portal import Portal, ending
from tests.support.remote import Host
from tests.support.state import Server


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


WINDOW_SECONDS = Policy().window_seconds

#: The time until every process is back at the store, and trusts the ledger.
RECOVERY_SECONDS = RETRY_SECONDS + BEAT_SECONDS + SETTLING_SECONDS


class World:
    """Hosts at one store and one portal.

    Attributes:
        hosts: The running hosts.
    """

    def __init__(self, clock: FakeClock, portal: Portal) -> None:
        self.clock = clock
        self.portal = portal
        self.server = Server(clock.clock.monotonic)
        self.hosts: list[Host] = []

    def start(self, number: int, **fields: Any) -> None:
        """Start some more."""
        self.hosts += [Host(self.portal, self.server, **fields) for _ in range(number)]

    def ping(self, number: int = 20, **fields: Any) -> None:
        """Let each host call."""
        for each in self.hosts:
            each.participant.ping(number, **fields)

    async def pass_by(self, seconds: int, *, number: int = 4) -> None:
        """Let time pass in which each host calls every second."""
        for _ in range(seconds):
            self.ping(number)
            await self.clock.advance(1.0)

    async def meet(self) -> None:
        """Let the hosts see each other."""
        self.ping(1)
        await self.clock.advance(2 * BEAT_SECONDS)


@pytest.fixture
async def world(clock: FakeClock, portal: Portal) -> AsyncIterator[World]:
    """Make hosts' world; they are stopped in the end."""
    world = World(clock, portal)
    yield world
    for each in world.hosts:
        await each.stop()


class TestAway:
    async def test_a_process_alone_goes_on_with_one_call(self, world: World) -> None:
        """A single process must go on without the store, one call at a time."""
        world.start(1)
        await world.meet()
        world.portal.busiest = 0

        world.server.away = True

        host = world.hosts[0].participant
        assert ["pong"] * 10 == await host.calls(10, seconds=10.0)
        assert 1 == world.portal.busiest

    async def test_a_leader_goes_on_beside_a_standby(self, world: World) -> None:
        """A leader must keep calling without the store: the standby has not called for a while."""
        world.start(2)
        leader = world.hosts[0].participant
        await world.clock.advance(300.0)
        await leader.calls()
        world.server.away = True

        endings = await leader.calls(5)

        assert ["pong"] * 5 == endings

    async def test_members_that_call_are_quiet_at_first(self, world: World) -> None:
        """Without the store, processes that have called must wait before they call again."""
        world.start(2)
        await world.meet()
        world.server.away = True
        first = world.hosts[0].participant

        early = await first.calls(seconds=QUIET_SECONDS)
        late = await first.calls(10, seconds=30.0)

        assert (["not sent: blocked"], ["pong"] * 10) == (early, late)

    async def test_a_store_that_is_away_for_a_moment_has_nobody_call_without_it(
        self, world: World
    ) -> None:
        """A store that is briefly away must not cost five refusals, noticed by all or by some."""
        world.start(3)
        await world.meet()
        world.server.away = True
        await world.hosts[0].participant.calls(seconds=0.5)
        world.server.away = False

        world.portal.accepted.clear()
        await world.pass_by(240)

        assert 1 <= world.portal.most_in_a_minute <= 4

    @pytest.mark.parametrize("seconds", [0.05, 0.15, 0.25, 0.35, 0.5, 3.0])
    @pytest.mark.parametrize("lost", [False, True])
    async def test_a_revocation_just_before_costs_at_most_four(
        self, world: World, seconds: float, *, lost: bool
    ) -> None:
        """A revocation just before the store goes away must cost at most four refusals."""
        world.start(3)
        await world.meet()
        world.hosts[0].participant.ping(20)
        await world.clock.advance(0.05)
        world.portal.accepted.clear()
        await world.clock.advance(seconds)

        if lost:
            world.server.lose()
        else:
            world.server.away = True
        await world.pass_by(240)

        assert 3 <= world.portal.most_in_a_minute <= 4

    @pytest.mark.parametrize("back_after", [62, 75, 100, 130, 190])
    async def test_members_that_come_back_one_by_one_cost_at_most_four(
        self, world: World, back_after: int
    ) -> None:
        """Processes that return to the store one by one must cost four refusals at most."""
        world.start(3)
        await world.meet()
        world.server.away = True
        for each in world.hosts:
            each.participant.ping()
            await world.clock.advance(BEAT_SECONDS / 2)
        await world.pass_by(back_after - 8)
        world.server.away = False
        world.portal.accepted.clear()

        await world.pass_by(240)

        assert 1 <= world.portal.most_in_a_minute <= 4

    async def test_it_is_over_when_all_are_back(self, world: World) -> None:
        """When all are back at the store, as many calls as before must be under way."""
        world.start(3)
        await world.meet()
        world.server.away = True
        await world.pass_by(100, number=1)
        world.server.away = False
        await world.clock.advance(RECOVERY_SECONDS)
        world.portal.busiest = 0

        await world.pass_by(5)

        assert 3 == world.portal.busiest

    @pytest.mark.parametrize("number", [4, 6])
    async def test_more_members_cost_a_call_each_and_one_more(
        self, world: World, number: int
    ) -> None:
        """More than three processes must cost a refusal each at first, then two a minute."""
        world.start(number, retry_seconds=60.0)
        await world.meet()
        world.server.away = True
        await world.pass_by(int(QUIET_SECONDS) + 10)
        world.portal.accepted.clear()

        await world.pass_by(120)
        at_once = world.portal.most_in_a_minute
        world.portal.refusals.clear()
        await world.pass_by(2 * number * int(TURN_SECONDS))

        assert number == at_once
        assert world.portal.most_in_a_minute <= 2


STORE = (
    *(st.tuples(st.just("away"), st.booleans()),) * 2,
    st.tuples(st.just("lose"), st.just("")),
    st.tuples(st.just("revoke"), SECRETS),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 30, 61, 71])),
    *[CALLS] * 6,
)


async def live(world: World, event: Any) -> None:
    """Let one thing happen."""
    hosts = [each.participant for each in world.hosts]
    match event:
        case "wait", seconds:
            await world.clock.advance(seconds)
        case "away", away:
            world.server.away = away
        case "lose", _:
            world.server.lose()
        case "revoke", secret:
            world.portal.accepted -= {secret}
        case "restore", secret:
            world.portal.restore(secret)
        case "other secret", who:
            host = hosts[who % len(hosts)]
            host.secret = "b" if host.secret == "a" else "a"
        case _:
            hosts[event["who"] % len(hosts)].ping(
                event["number"],
                priority=event["priority"],
                there=event["there"] / 10,
                back=event["back"] / 10,
                own=event["own"],
            )


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(
    events=histories(*STORE, *RESTORES, st.tuples(st.just("other secret"), st.integers(0, 2))),
    number=st.integers(1, 3),
)
async def test_no_history_of_a_store_leads_to_a_lock_out(
    events: list[tuple[Any, int]], number: int
) -> None:
    """Never 5 refusals in a minute in sum, and a valid secret is used again."""
    clock = FakeClock()
    world = World(clock, Portal(clock))
    portal = world.portal
    portal.accepted = {"a", "b"}
    world.start(number, retry_seconds=60.0)
    await clock.advance(2 * BEAT_SECONDS)
    for event, tenths in events:
        await live(world, event)
        await clock.advance(tenths / 10)
    world.server.away = False
    await clock.advance(RECOVERY_SECONDS)
    tasks = [task for each in world.hosts for task in each.participant.tasks]
    unfinished = [task for task in tasks if not task.done()]

    portal.accepted |= {"a", "b"}
    await clock.advance(4 * WINDOW_SECONDS)
    last = [task for each in world.hosts for task in each.participant.ping(3)]
    await clock.advance(15.0)
    for each in world.hosts:
        await each.stop()

    assert [] == unfinished
    assert portal.most_in_a_minute <= 4
    assert ["pong"] * len(last) == [ending(task) for task in last]
