"""Processes that share a ledger, and the limit of those that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.lockout.members import (
    ALIVE_SECONDS,
    BEAT_SECONDS,
    FORGOTTEN_SECONDS,
    QUIET_SECONDS,
    ROUND_SECONDS,
    TURN_SECONDS,
    Members,
)
from exporter.lockout.policy import Policy
from exporter.lockout.record import Turn
from exporter.metrics.telemetry import SelfMetrics
from exporter.sharding import Shard
from exporter.state.fallback import FallbackState
from exporter.state.memory import MemoryState
from tests.support.participants import Participant
from tests.support.portal import OWN, Portal
from tests.support.state import RemoteStore, Server


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
        """Each shard must have one call under way only, since it does not see the others' calls."""
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

    async def test_another_secret_waits_for_its_minute_too(self, portal: Portal) -> None:
        """The vendor counts a shard's refusals whatever was refused."""
        shard = apart(portal, secret="old")
        await shard.calls(seconds=1.0)
        shard.secret = "new"

        assert ["not sent: blocked"] * 3 == await shard.calls(3, seconds=1.0)
        assert 1 == len(portal.refusals)

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
        """A single process without shards must take no turns."""
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
        """When a shard is gone, the shards must take turns again: it may have moved."""
        state = MemoryState(clock.clock.monotonic)
        shards = [shard_of(clock, state, index) for index in range(TOTAL)]
        for each in (*shards, shards[0]):
            await each.beat()
            await clock.advance(BEAT_SECONDS)
        shared = shards[0].turn_seconds()
        await clock.advance(ALIVE_SECONDS)
        await shards[0].beat()

        assert (None, 0.0) == (shared, shards[0].turn_seconds())

    @pytest.mark.parametrize("content", [b"", b"\xc1", b"\x95\xa0\0\1\xc2" + b"\x91" * 100_000])
    async def test_a_damaged_heartbeat_is_none(self, clock: FakeClock, content: bytes) -> None:
        """A damaged heartbeat must be ignored."""
        state = MemoryState(clock.clock.monotonic)
        shards = [shard_of(clock, state, index) for index in range(TOTAL)]
        await state.put("member/damaged", content)
        for _ in range(2):
            for each in shards:
                await each.beat()
            await clock.advance(BEAT_SECONDS)

        assert [None] * TOTAL == [each.turn_seconds() for each in shards]

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


class Sharer:
    """A process at a store of several hosts, which sees its members."""

    def __init__(
        self, clock: FakeClock, server: Server, *, shard: Shard | None = None, command: bool = False
    ) -> None:
        self.state = FallbackState(
            RemoteStore(server), clock=clock.clock, telemetry=SelfMetrics(clock=clock.clock)
        )
        self.members = Members(
            self.state,
            namespace="prod",
            shard=shard or Shard(),
            clock=clock.clock,
            only_looks=command,
            shared=True,
        )


@pytest.fixture
def server(clock: FakeClock) -> Server:
    """Make a store that works."""
    return Server(clock.clock.monotonic)


async def met(clock: FakeClock, *sharers: Sharer) -> None:
    """Let some see each other."""
    for _ in range(2):
        for each in sharers:
            await each.members.beat()
        await clock.advance(BEAT_SECONDS)


async def lost(server: Server, *sharers: Sharer) -> None:
    """Let some lose the store."""
    server.away = True
    for each in sharers:
        await each.state.get("anything")


class TestStoreOfSeveralHosts:
    async def test_the_ledger_is_shared_while_the_store_is_there(
        self, clock: FakeClock, server: Server
    ) -> None:
        """While the store is reachable, processes share one ledger, even without all shards."""
        first = Sharer(clock, server, shard=Shard(index=1, total=3))
        await met(clock, first)

        assert None is first.members.turn()
        assert 1 == first.members.count()

    async def test_members_take_turns_of_a_minute_without_it(
        self, clock: FakeClock, server: Server
    ) -> None:
        """Without the store, processes must take turns of a minute."""
        sharers = [Sharer(clock, server) for _ in range(3)]
        await met(clock, *sharers)
        await lost(server, *sharers)

        turns = [each.members.turn_seconds() or 0.0 for each in sharers]

        assert [0.0, TURN_SECONDS, 2 * TURN_SECONDS] == sorted(
            round((each - min(turns)) % (3 * TURN_SECONDS), 6) for each in turns
        )
        assert [3, 3, 3] == [each.members.count() for each in sharers]

    async def test_a_turn_comes_nearer_with_time(self, clock: FakeClock, server: Server) -> None:
        """A turn must be a fixed time of the state's clock."""
        sharers = [Sharer(clock, server) for _ in range(3)]
        await met(clock, *sharers)
        await lost(server, *sharers)
        last = max(sharers, key=lambda each: each.members.turn_seconds() or 0.0)
        before = last.members.turn_seconds() or 0.0

        await clock.advance(20.0)

        assert before - 20.0 == pytest.approx(last.members.turn_seconds())

    async def test_who_never_saw_the_store_is_alone(self, clock: FakeClock, server: Server) -> None:
        """A process that never reached the store must call at once, one call at a time."""
        server.away = True
        first = Sharer(clock, server)
        await met(clock, first)

        turn = first.members.turn()

        assert turn is not None
        assert 0.0 == turn.quiet_seconds
        assert turn.seconds < TURN_SECONDS
        assert 1 == first.members.count()

    async def test_a_shard_that_never_saw_the_store_reckons_with_the_others(
        self, clock: FakeClock, server: Server
    ) -> None:
        """A shard that never reached the store must take the turn of its index."""
        server.away = True
        shards = [Sharer(clock, server, shard=Shard(index=each, total=3)) for each in range(3)]
        for each in shards:
            await each.members.beat()

        turns = [each.members.turn_seconds() or 0.0 for each in shards]

        cycle = 3 * TURN_SECONDS
        assert TURN_SECONDS == pytest.approx((turns[1] - turns[0]) % cycle)
        assert TURN_SECONDS == pytest.approx((turns[2] - turns[1]) % cycle)
        assert 3 == shards[0].members.count()

    async def test_a_member_that_leaves_is_not_counted(
        self, clock: FakeClock, server: Server
    ) -> None:
        """A process that stops must not be counted, a killed one only for a while."""
        sharers = [Sharer(clock, server) for _ in range(3)]
        await met(clock, *sharers)
        await sharers[1].members.leave()

        await met(clock, sharers[0])
        left = sharers[0].members.count()
        await clock.advance(ALIVE_SECONDS)
        await met(clock, sharers[0])

        assert (2, 1) == (left, sharers[0].members.count())

    async def test_the_heartbeats_of_the_dead_are_deleted(
        self, clock: FakeClock, server: Server
    ) -> None:
        """A crash loop does not fill the store."""
        sharers = [Sharer(clock, server) for _ in range(3)]
        await met(clock, *sharers)
        await clock.advance(FORGOTTEN_SECONDS)

        await met(clock, sharers[0])

        assert 1 == len(await server.memory.documents("member/"))

    async def test_a_new_store_has_nobody_wait(self, clock: FakeClock, server: Server) -> None:
        """With a new store, a process must call one by one for a minute, and then as usual."""
        server.lose()
        sharers = [Sharer(clock, server) for _ in range(3)]
        await met(clock, *sharers)
        young = sharers[0].members.turn()
        await clock.advance(TURN_SECONDS)

        assert young is not None
        assert 0.0 == young.quiet_seconds
        assert None is sharers[0].members.turn()

    async def test_a_store_that_lost_its_data_has_those_wait_who_called(
        self, clock: FakeClock, server: Server
    ) -> None:
        """After a store lost its data, its processes must wait: recent refusals may be lost."""
        callers = [Sharer(clock, server) for _ in range(2)]
        standby = Sharer(clock, server)
        for each in callers:
            each.members.turn()
        await met(clock, *callers, standby)
        turns = []
        server.lose()
        for each in (*callers, standby):
            await each.state.get("anything")
            turns.append(each.members.turn())

        assert [QUIET_SECONDS] * 3 == [turn and turn.quiet_seconds for turn in turns]

    async def test_a_leader_whose_standby_never_called_goes_on(
        self, clock: FakeClock, server: Server
    ) -> None:
        """A leader whose standby never called must go on: no refusal can be unknown."""
        leader, standby = Sharer(clock, server), Sharer(clock, server)
        leader.members.turn()
        await met(clock, leader, standby)
        server.lose()
        await leader.state.get("anything")

        turn = leader.members.turn()

        assert turn is not None
        assert 0.0 == turn.quiet_seconds

    async def test_a_command_is_no_member_and_comes_after_all(
        self, clock: FakeClock, server: Server
    ) -> None:
        """A command must share the ledger without being counted, and have a turn of its own."""
        member, command = Sharer(clock, server), Sharer(clock, server, command=True)
        await met(clock, member, command)
        shared = command.members.turn()
        await lost(server, member, command)

        mine, other = command.members.turn_seconds() or 0.0, member.members.turn_seconds() or 0.0

        assert None is shared
        assert 1 == member.members.count()
        assert mine != other

    async def test_a_process_alone_on_one_host_writes_nothing(self, clock: FakeClock) -> None:
        """A process without shards, and without a store that others share, needs no heartbeat."""
        state = MemoryState(clock.clock.monotonic)
        alone = Members(state, namespace="prod", shard=Shard(), clock=clock.clock)
        await alone.beat()
        await alone.leave()

        assert {} == await state.documents("member/")
