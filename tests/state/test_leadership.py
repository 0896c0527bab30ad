"""Processes at one store, in simulated time: their roles, and their messages."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from exporter import process
from exporter.state.base import Fence
from exporter.state.leadership import (
    ALONE_SECONDS,
    HAND_OVER_SECONDS,
    LOOK_SECONDS,
    Leadership,
    Role,
    Work,
)
from exporter.state.lease import LEASE_SECONDS, Lease, parsed
from exporter.state.memory import MemoryState
from tests.support.clock import FakeClock
from tests.support.state import LastingState


KEY = "lead/source"


class Away(LastingState):
    """A store that can be away for one of its users and not for others."""

    def __init__(self, store: MemoryState) -> None:
        super().__init__(store.now)
        self._documents = store._documents

    async def update(self, key, change):  # type: ignore[no-untyped-def]
        self._check()
        return await super().update(key, change)

    async def delete(self, key: str) -> None:
        self._check()
        await super().delete(key)


class Member:
    """A process at the store, with its history.

    Attributes:
        roles: The roles that it had.
        heard: The messages that it received, with their age.
        passed: How often it saw another leader.
        failing: Whether its work fails.
        news: The message that it sends.
    """

    def __init__(self, store: MemoryState, time: FakeClock) -> None:
        self.state = Away(store)
        self.roles: list[Role] = []
        self.heard: list[tuple[bytes, float]] = []
        self.passed = 0
        self.failing = False
        self.news = b"news"
        work = Work(
            described={},
            changed=self._change,
            tells=lambda: self.news,
            hears=self._hear,
            fails=lambda: self.failing,
            passed=self._pass,
        )
        self.leadership = Leadership(self.state, KEY, work, clock=time.clock)

    @property
    def role(self) -> Role:
        return self.leadership.role

    async def step(self) -> Role:
        await self.leadership.step()
        return self.role

    async def _change(self, role: Role) -> None:
        self.roles.append(role)

    async def _hear(self, told: bytes, age_seconds: float) -> None:
        self.heard.append((told, age_seconds))

    def _pass(self) -> None:
        self.passed += 1


@pytest.fixture
def time() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(time: FakeClock) -> MemoryState:
    return MemoryState(lambda: time.unix)


@pytest.fixture
async def pair(store: MemoryState, time: FakeClock) -> tuple[Member, Member]:
    """A leader and its standby."""
    members = Member(store, time), Member(store, time)
    for each in members:
        await each.step()
    return members


async def played(time: FakeClock, seconds: float, *members: Member) -> None:
    """Let time pass for some processes, while all others stand still or have ended."""
    for _ in range(round(seconds / LOOK_SECONDS)):
        time.shift(LOOK_SECONDS)
        for each in members:
            await each.step()


async def test_one_leads(pair: tuple[Member, Member], time: FakeClock) -> None:
    """The first one takes the lease and keeps it; the other one stands by."""
    leader, standby = pair

    await played(time, 3600, leader, standby)

    assert [Role.LEADER] == leader.roles
    assert [Role.STANDBY] == standby.roles
    assert 0 == leader.passed == standby.passed


async def test_a_silent_leader_loses_its_lease(
    pair: tuple[Member, Member], time: FakeClock
) -> None:
    """The standby leads within the lease and a second, and not while the lease goes on."""
    leader, standby = pair
    await played(time, 60, leader, standby)

    await played(time, LEASE_SECONDS - 5 - LOOK_SECONDS, standby)
    before = standby.role
    await played(time, 6, standby)

    assert Role.STANDBY == before
    assert [Role.STANDBY, Role.LEADER] == standby.roles
    assert 1 == standby.passed


async def test_who_leaves_is_followed_at_once(pair: tuple[Member, Member], time: FakeClock) -> None:
    """A lease that is given up is taken at the next look."""
    leader, standby = pair

    await leader.leadership.leave()
    await played(time, LOOK_SECONDS, standby)

    assert Role.LEADER == standby.role


async def test_who_leaves_sees_who_has_just_come(pair: tuple[Member, Member]) -> None:
    """A leader that leaves must see a standby that has just come."""
    leader, standby = pair

    seen = [await each.leadership.has_standby() for each in (leader, standby)]

    assert [True, False] == seen


async def test_a_dead_process_is_followed_at_once(store: MemoryState, time: FakeClock) -> None:
    """A holder that was a process of this machine, and has ended, is not waited for."""
    ended = [sys.executable, "-c", "input()"]
    with subprocess.Popen(ended, stdin=subprocess.PIPE) as holder:  # noqa: ASYNC220 - quick
        identity = process.identity(holder.pid)
        held = Lease(epoch=3, expires=time.unix + 10, holder="it", process=identity)
        await store.put(KEY, held.encoded())
        member = Member(store, time)

        while_alive = await member.step()
        holder.kill()
        holder.wait()
        after = await member.step()

    assert Role.STANDBY == while_alive
    assert Role.LEADER == after


async def test_who_was_stopped_looks_before_it_goes_on(
    pair: tuple[Member, Member], time: FakeClock
) -> None:
    """A leader that stood still for longer than its lease does nothing until it has looked."""
    leader, standby = pair
    fence = leader.leadership.fence
    before = leader.leadership.lapsed

    await played(time, LEASE_SECONDS + 1, standby)
    lapsed = leader.leadership.lapsed
    written = await leader.state.put("snapshot", b"old", fence=fence)
    role = await leader.step()

    assert not before
    assert lapsed
    assert not written
    assert Role.STANDBY == role
    assert Role.LEADER == standby.role
    assert await standby.state.put("snapshot", b"new", fence=standby.leadership.fence)


async def test_who_was_stopped_goes_on_if_nobody_took_its_place(
    store: MemoryState, time: FakeClock
) -> None:
    """Without a standby the leader has its lease again."""
    leader = Member(store, time)
    await leader.step()

    time.shift(3600)
    role = await leader.step()

    assert Role.LEADER == role
    assert not leader.leadership.lapsed
    assert [Role.LEADER] == leader.roles


async def test_without_the_store_the_leader_goes_on(
    pair: tuple[Member, Member], time: FakeClock
) -> None:
    """Without the store, the leader must go on, and the standby work too after a minute."""
    leader, standby = pair
    for each in pair:
        each.state.broken = True

    await played(time, ALONE_SECONDS - 1, leader, standby)
    waiting = standby.role
    lapsed = leader.leadership.lapsed
    await played(time, 2, leader, standby)
    alone = standby.role
    for each in pair:
        each.state.broken = False
    await played(time, 1, leader, standby)

    assert Role.STANDBY == waiting
    assert not lapsed
    assert Role.ALONE == alone
    assert standby.leadership.fence is None
    assert [Role.LEADER] == leader.roles
    assert Role.STANDBY == standby.role


async def test_who_never_reached_the_store_works(store: MemoryState, time: FakeClock) -> None:
    """A process that starts without the store does not wait for it."""
    member = Member(store, time)
    member.state.broken = True

    alone = await member.step()
    member.state.broken = False
    after = await member.step()

    assert Role.ALONE == alone
    assert Role.LEADER == after


async def test_a_leader_cut_off_from_the_store_is_followed(
    pair: tuple[Member, Member], time: FakeClock
) -> None:
    """A leader without the store must be followed, and stand by when it reaches it again."""
    leader, standby = pair
    leader.state.broken = True

    await played(time, LEASE_SECONDS + 1, leader, standby)
    both = leader.role, standby.role
    leader.state.broken = False
    await played(time, 1, leader, standby)

    assert (Role.LEADER, Role.LEADER) == both
    assert Role.STANDBY == leader.role
    assert Role.LEADER == standby.role


async def test_a_store_that_lost_all_has_the_same_leader(
    pair: tuple[Member, Member], store: MemoryState, time: FakeClock
) -> None:
    """The standby leaves the leader the time to write its lease again, with no other epoch."""
    leader, standby = pair
    await played(time, 1, leader, standby)
    fence = leader.leadership.fence

    store._documents.clear()
    await played(time, 60, standby, leader)

    assert [Role.LEADER] == leader.roles
    assert [Role.STANDBY] == standby.roles
    assert fence == leader.leadership.fence


async def test_a_lost_lease_of_a_dead_leader_is_taken(
    pair: tuple[Member, Member], store: MemoryState, time: FakeClock
) -> None:
    """The next epoch is higher, though the store knows no other."""
    leader, standby = pair
    before = leader.leadership.fence
    await played(time, 1, standby)

    store._documents.clear()
    await played(time, LEASE_SECONDS + 1, standby)

    assert Role.LEADER == standby.role
    after = standby.leadership.fence
    assert before is not None
    assert after is not None
    assert before.prefix < after.prefix


async def test_who_fails_hands_over(pair: tuple[Member, Member], time: FakeClock) -> None:
    """A leader that cannot do the work leaves it to the standby, and does not take it back."""
    leader, standby = pair
    leader.failing = True

    await played(time, HAND_OVER_SECONDS - 1, leader, standby)
    patient = leader.role
    await played(time, 8, leader, standby)
    handed = leader.role, standby.role
    await played(time, 600, leader, standby)

    assert Role.LEADER == patient
    assert (Role.STANDBY, Role.LEADER) == handed
    assert [Role.STANDBY, Role.LEADER] == standby.roles


async def test_where_all_fail_they_change_more_and_more_rarely(
    pair: tuple[Member, Member], time: FakeClock
) -> None:
    """When all processes fail, they must take turns of a minute, two, four and so on."""
    for each in pair:
        each.failing = True

    # Each process leads for 60, 120, 240, 480 and 960 seconds, and some for the change.
    await played(time, 140, *pair)
    soon = _changes(pair)
    await played(time, 3600 - 140, *pair)

    assert 2 == soon
    assert 8 <= _changes(pair) <= 9


async def test_who_has_success_is_patient_no_more(
    pair: tuple[Member, Member], time: FakeClock
) -> None:
    """After a trouble that is over, the next one leads to another leader within a minute again."""
    for each in pair:
        each.failing = True
    await played(time, 900, *pair)
    for each in pair:
        each.failing = False
    await played(time, HAND_OVER_SECONDS + 10, *pair)
    before = _changes(pair)

    for each in pair:
        each.failing = each.role is Role.LEADER
    await played(time, 10, *pair)

    assert before + 1 == _changes(pair)


def _changes(pair: tuple[Member, Member]) -> int:
    """Return how often the lead has passed from one to the other."""
    return sum(len(each.roles) - 1 for each in pair) // 2


async def test_without_a_standby_nobody_hands_over(store: MemoryState, time: FakeClock) -> None:
    """A failing leader without a standby must keep the lead."""
    leader, standby = Member(store, time), Member(store, time)
    await played(time, 1, leader, standby)
    leader.failing = True

    await played(time, 600, leader)

    assert [Role.LEADER] == leader.roles


async def test_the_notes_of_those_who_are_gone_are_deleted(
    pair: tuple[Member, Member], store: MemoryState, time: FakeClock
) -> None:
    """Standbys that were restarted over and over leave nothing behind."""
    leader, standby = pair
    await played(time, 5, *pair)
    before = await store.documents(f"{KEY}/")

    await played(time, 900, leader)
    found = await leader.leadership.has_standby()

    assert 1 == len(before)
    assert not found
    assert {} == await store.documents(f"{KEY}/")
    assert Role.STANDBY == standby.role


async def test_who_handed_over_to_nobody_takes_it_back(
    pair: tuple[Member, Member], time: FakeClock
) -> None:
    """A standby that died just then leaves no gap of more than seconds."""
    leader, standby = pair
    leader.failing = True
    await played(time, HAND_OVER_SECONDS - 5, leader, standby)

    await played(time, 15, leader)

    assert [Role.LEADER, Role.STANDBY, Role.LEADER] == leader.roles


async def test_what_the_leader_tells_is_heard_within_a_second(
    pair: tuple[Member, Member], time: FakeClock
) -> None:
    """News are written at once and seen at the next look; nothing is heard twice."""
    leader, standby = pair
    await played(time, 4, leader, standby)
    standby.heard.clear()

    leader.news = b"more"
    leader.leadership.tell()
    await leader.step()
    await played(time, 2, standby)

    assert [(b"more", LOOK_SECONDS)] == standby.heard


async def test_a_leader_does_not_listen(pair: tuple[Member, Member], time: FakeClock) -> None:
    """A leader must ignore its own messages, and those from before it took over."""
    leader, standby = pair

    await leader.leadership.leave()
    await played(time, 10, standby)

    assert [] == leader.heard
    assert Role.LEADER == standby.role


async def test_a_newer_document_is_respected(store: MemoryState, time: FakeClock) -> None:
    """During a rolling upgrade the holder of an unknown kind of lease keeps it to its end."""
    lease = Lease(epoch=7, expires=time.unix + 10, holder="x").encoded()
    await store.put(KEY, lease[:16] + b"\x01a newer version")
    member = Member(store, time)

    roles = [await member.step()]
    await played(time, 11, member)
    roles.append(member.role)

    assert [Role.STANDBY, Role.LEADER] == roles
    assert [] == member.heard


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"x", b"\xff" * 16, b"\x00" * 15),
        *(
            Lease(epoch=7, expires=expires, holder="x").encoded()
            for expires in (-1.0, 9e10, 1e18, math.inf, math.nan)
        ),
        Lease(epoch=7, expires=0.0).encoded()[:16] + b"\x91" * 100_000,
    ],
)
async def test_a_damaged_document_is_none(
    content: bytes, store: MemoryState, time: FakeClock
) -> None:
    """A damaged lease must not keep a process from leading."""
    await store.put(KEY, content)
    member = Member(store, time)

    await member.step()

    assert Role.LEADER == member.role


async def test_a_mistake_in_the_work_ends_nothing(store: MemoryState, time: FakeClock) -> None:
    """The loop goes on when what it calls raises."""
    member = Member(store, time)
    member.leadership._work = Work(described={}, tells=lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    member.leadership.begin()

    await time.advance(2)
    task = member.leadership._task
    running = task is not None and not task.done()
    role = member.role
    await member.leadership.leave()

    assert running
    assert Role.LEADER == role


class Machine(RuleBasedStateMachine):
    """Three members that stand still, leave, fail and are cut off whenever they like."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.time = FakeClock()
        self.store = MemoryState(lambda: self.time.unix)
        self.members = [Member(self.store, self.time) for _ in range(3)]
        self.written = 0

    @rule(member=st.integers(0, 2), seconds=st.sampled_from([0.0, 0.5, 2.0, 5.0, 14.0, 16.0]))
    def step(self, member: int, seconds: float) -> None:
        self.time.shift(seconds)
        self.runner.run(self.members[member].step())

    @rule(member=st.integers(0, 2))
    def leave(self, member: int) -> None:
        self.runner.run(self.members[member].leadership.leave())
        self.members[member] = Member(self.store, self.time)

    @rule(member=st.integers(0, 2))
    def die(self, member: int) -> None:
        self.members[member] = Member(self.store, self.time)

    @rule(member=st.integers(0, 2), failing=st.booleans())
    def fail(self, member: int, failing: bool) -> None:
        self.members[member].failing = failing

    @rule(member=st.integers(0, 2))
    def write(self, member: int) -> None:
        fence = self.members[member].leadership.fence
        if fence is not None:
            epoch = int.from_bytes(fence.prefix, "big")
            written = self.runner.run(self.store.put("snapshot", b"", fence=fence))
            assert not written or epoch >= self.written
            self.written = max(self.written, epoch if written else 0)

    @invariant()
    def one_leads(self) -> None:
        leading = [
            each for each in self.members if each.role is Role.LEADER and not each.leadership.lapsed
        ]
        assert len(leading) <= 1

    def teardown(self) -> None:
        self.runner.close()


def test_never_do_two_lead() -> None:
    """While all reach the store, at most one process may lead without looking at its lease."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=80, stateful_step_count=50))


def test_a_fence_is_the_beginning_of_the_document() -> None:
    """A fence must be the beginning of the lease's document, and last for its epoch."""
    lease = Lease(epoch=9, expires=1.0, holder="a")

    found = parsed(lease.encoded())

    assert lease == found
    assert lease.encoded().startswith(Fence(key=KEY, prefix=lease.fence).prefix)
    assert not Lease(epoch=10, expires=1.0, holder="a").encoded().startswith(lease.fence)
