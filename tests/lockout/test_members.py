"""Shards: whether they share a ledger, and how those that do not stay within the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.lockout.members import ALIVE_SECONDS, BEAT_SECONDS, ROUND_SECONDS, Members
from exporter.lockout.policy import Policy
from exporter.lockout.record import Turn
from exporter.sharding import Shard
from exporter.state.memory import MemoryState
from tests.support.participants import Participant
from tests.support.portal import OWN, Portal


if TYPE_CHECKING:
    from exporter.state.base import State
    from tests.support.clock import FakeClock


WINDOW_SECONDS = Policy().window_seconds
TOTAL = 3


def apart(portal: Portal, index: int = 0, *, secret: str = "a") -> Participant:
    """Make a shard with a state of its own."""
    return Participant(
        portal,
        MemoryState(portal.clock.clock.monotonic),
        secret=secret,
        turn=lambda: Turn(seconds=ROUND_SECONDS * index / TOTAL),
    )


def shard_of(clock: FakeClock, state: State, index: int, *, namespace: str = "prod") -> Members:
    """Make one shard's view of the others."""
    shard = Shard(index=index, total=TOTAL)
    return Members(state, namespace=namespace, shard=shard, clock=clock.clock)


class TestApart:
    async def test_one_call_is_under_way_each(self, portal: Portal) -> None:
        """Whatever the concurrency, since the others' calls are not seen."""
        shard = apart(portal)

        assert ["pong"] * 10 == await shard.calls(10)
        assert 1 == portal.busiest

    @pytest.mark.parametrize(("index", "turn_seconds"), [(0, 0.0), (1, 20.0), (2, 40.0)])
    async def test_the_proof_after_a_suspect_waits_for_its_turn(
        self, clock: FakeClock, portal: Portal, index: int, turn_seconds: float
    ) -> None:
        """A minute, so that the others' refusals are old, and the ordinal's share of the next."""
        shard = apart(portal, index)
        await shard.calls(seconds=1.0)
        endings = await shard.calls(own=OWN, seconds=0.2)
        await clock.advance(WINDOW_SECONDS + turn_seconds - 0.1)

        early = await shard.calls(seconds=0.2)
        late = await shard.calls(seconds=1.0)

        assert (["not sent: blocked"], ["not sent: blocked"], ["pong"]) == (endings, early, late)
        assert 2 == portal.proofs

    async def test_a_broken_target_closes_it_once(self, clock: FakeClock, portal: Portal) -> None:
        """When the target gives its error again after the proof, the error is no refusal."""
        shard = apart(portal)
        await shard.calls(seconds=1.0)
        await shard.calls(own=OWN, target="7", seconds=1.0)
        await clock.advance(WINDOW_SECONDS)

        again = await shard.calls(own=OWN, target="7", seconds=1.0)
        others = await shard.calls(5)

        assert (["api_error"], ["pong"] * 5) == (again, others)

    @pytest.mark.parametrize("revoked_after", [0.0, 1.05])
    async def test_three_cost_at_most_four_refusals_a_minute(
        self, clock: FakeClock, portal: Portal, revoked_after: float
    ) -> None:
        """With a token that is wrong from the start, or revoked while all are calling."""
        shards = [apart(portal, index) for index in range(TOTAL)]
        if not revoked_after:
            portal.accepted.clear()
        for _ in range(60):
            for each in shards:
                each.ping(20)
            await clock.advance(revoked_after)
            portal.accepted.clear()
            await clock.advance(10.0 - revoked_after)

        assert 3 <= portal.most_in_a_minute <= 4


class TestHeartbeats:
    async def test_one_process_alone_shares_nothing(self, clock: FakeClock) -> None:
        """Without shards there is nobody to reckon with."""
        alone = Members(
            MemoryState(clock.clock.monotonic), namespace="", shard=Shard(), clock=clock.clock
        )

        assert alone.turn_seconds() is None

    async def test_a_shard_reckons_with_the_others_until_it_sees_them(
        self, clock: FakeClock
    ) -> None:
        """At the start it does not know whether the state is shared."""
        second = shard_of(clock, MemoryState(clock.clock.monotonic), 1)
        await second.beat()

        assert 20.0 == second.turn_seconds()

    async def test_heartbeats_of_all_end_it(self, clock: FakeClock) -> None:
        """All ordinals are found in the state, so the ledger holds in sum."""
        state = MemoryState(clock.clock.monotonic)
        shards = [shard_of(clock, state, index) for index in range(TOTAL)]
        for _ in range(2):
            for each in shards:
                await each.beat()
            await clock.advance(BEAT_SECONDS)

        assert [None] * TOTAL == [each.turn_seconds() for each in shards]

    async def test_a_shard_that_is_gone_begins_it_again(self, clock: FakeClock) -> None:
        """It may have moved to a host with another state."""
        state = MemoryState(clock.clock.monotonic)
        shards = [shard_of(clock, state, index) for index in range(TOTAL)]
        for each in (*shards, shards[0]):
            await each.beat()
            await clock.advance(BEAT_SECONDS)
        shared = shards[0].turn_seconds()
        await clock.advance(ALIVE_SECONDS)
        await shards[0].beat()

        assert (None, 0.0) == (shared, shards[0].turn_seconds())

    async def test_another_installation_is_none_of_them(self, clock: FakeClock) -> None:
        """Two namespaces in one state do not count each other's heartbeats."""
        state = MemoryState(clock.clock.monotonic)
        for index in (1, 2):
            await shard_of(clock, state, index, namespace="test").beat()
        first = shard_of(clock, state, 0)
        await first.beat()

        assert 0.0 == first.turn_seconds()

    async def test_a_command_reckons_with_all_of_them_and_leaves_no_heartbeat(
        self, clock: FakeClock
    ) -> None:
        """`status` is no shard: it may prove after all of them, unless it shares their state."""
        state = MemoryState(clock.clock.monotonic)
        command = Members(
            state,
            namespace="prod",
            shard=Shard(total=TOTAL),
            clock=clock.clock,
            only_looks=True,
        )
        await command.beat()
        alone = command.turn_seconds()
        for index in range(TOTAL):
            await shard_of(clock, state, index).beat()
        await clock.advance(BEAT_SECONDS)

        await command.beat()

        assert (ROUND_SECONDS, None) == (alone, command.turn_seconds())
        assert TOTAL == len(await state.documents("member/"))
