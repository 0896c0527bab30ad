"""Histories of several participants of one ledger, in simulated time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from exporter.errors import CallError, Reason
from exporter.lockout.policy import Policy
from exporter.lockout.queue import Priority
from exporter.state.memory import MemoryState
from tests.support.clock import FakeClock
from tests.support.participants import Participant
from tests.support.portal import OWN, REFUSAL, Portal, ending


WINDOW_SECONDS = Policy().window_seconds
RETRY_SECONDS = 60.0
EXAMPLES = 50
# No shrinking: it takes minutes, and the shortest history is seldom the clearest.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

UNSENT = CallError(Reason.CONNECT, "refused", sent=False)
DROPPED = CallError(Reason.CONNECT, "the connection was dropped", lost=True)
LATE = CallError(Reason.TIMEOUT, "no reply in time")

WHO = st.integers(0, 4)
TENTHS = st.integers(0, 9)
CALLS = st.fixed_dictionaries(
    {
        "who": WHO,
        "number": st.sampled_from([1, 3, 12]),
        "there": st.integers(1, 5),
        "back": st.integers(1, 5),
        "own": st.sampled_from(["", "", "", OWN, "another error"]),
        "lost": st.sampled_from([None] * 6 + [DROPPED, LATE]),
        "priority": st.sampled_from([Priority.NORMAL, *Priority]),
        "cancel": st.none() | TENTHS,
    }
)
SECRETS = st.sampled_from("ab")
ORDINARY = (
    *[CALLS] * 5,
    st.tuples(st.just("revoke"), SECRETS),
    st.tuples(st.just("other secret"), WHO),
    st.tuples(st.just("visit"), SECRETS),
    st.tuples(st.just("proofs"), st.sampled_from([UNSENT, None, None])),
    st.tuples(st.just("wait"), st.sampled_from([10, 30, 61])),
)
RESTORES = (st.tuples(st.just("restore"), SECRETS),) * 2
LOSSES = (
    st.tuples(st.just("kill"), WHO),
    st.tuples(st.just("stall"), WHO, st.sampled_from([2.5, 5.0]), st.booleans()),
    st.tuples(st.just("all ends with"), st.sampled_from([DROPPED, None, None])),
)


def histories(*events: Any) -> Any:
    """Return what happens, and how many tenths of a second pass before the next."""
    return st.lists(st.tuples(st.one_of(*events), TENTHS), min_size=40, max_size=60)


MEMBERS = st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=5)


class History:
    """Lives through a history and keeps what came of it."""

    def __init__(self, concurrencies: list[int], *, own: str, lossy: bool, apart: float) -> None:
        self.clock = FakeClock()
        self.portal = Portal(self.clock)
        self.portal.accepted = {"a", "b"}
        self._state = MemoryState(self.clock.clock.monotonic)
        self.participants = [self._participant(each) for each in concurrencies]
        self.gone: list[Participant] = []
        self.too_busy: list[int] = []
        self._concurrencies = concurrencies
        self._own = own
        self._lossy = lossy
        self._apart = apart
        self._changed = 0.0
        self._helpers: list[asyncio.Task[None]] = []

    def _participant(self, concurrency: int, secret: str = "a") -> Participant:
        return Participant(
            self.portal,
            self._state,
            secret=secret,
            concurrency=concurrency,
            retry_seconds=RETRY_SECONDS,
            watch=self._watch,
        )

    def _watch(self) -> None:
        """Look how many calls are under way."""
        busy = sum(each.under_way for each in (*self.participants, *self.gone) if each.is_well)
        if busy > max(self._concurrencies) + 1:
            self.too_busy.append(busy)

    async def live(self, event: Any) -> None:
        """Let one thing happen."""
        portal = self.portal
        match event:
            case "wait", seconds:
                await self.clock.advance(seconds)
            case dict():
                self._call(**event)
            case _, int(), *_:
                self._meet(event)
            case "visit", secret:
                self._helpers.append(asyncio.create_task(self._visit(secret)))
            case "revoke", secret:
                await self._change()
                portal.accepted -= {secret}
            case "restore", secret:
                await self._change()
                if self._apart:
                    portal.accepted |= {secret}
                else:
                    portal.restore(secret)
            case "proofs", down:
                portal.down = down
            case "all ends with", lost:
                portal.lost = lost
            case _:
                raise AssertionError(event)

    def _meet(self, event: Any) -> None:
        """Let one thing happen to a participant."""
        name, who, *more = event
        participant = self.participants[who % len(self.participants)]
        match name:
            case "other secret":
                participant.secret = "b" if participant.secret == "a" else "a"
                participant.ping()
            case "kill":
                self._kill(participant)
            case "stall":
                seconds, late = more
                participant.stall(seconds, late=late)

    async def _change(self) -> None:
        """Wait until the portal may change its mind again."""
        await self.clock.advance(max(0.0, self._changed + self._apart - self.clock.monotonic))
        self._changed = self.clock.monotonic

    def _kill(self, participant: Participant) -> None:
        """Kill a participant; the next one takes its place."""
        participant.kill()
        self.gone.append(participant)
        place = self.participants.index(participant)
        self.participants[place] = self._participant(participant.concurrency, participant.secret)

    async def _visit(self, secret: str) -> None:
        participant = self._participant(max(self._concurrencies), secret)
        self.gone.append(participant)
        await asyncio.wait(participant.ping(3, own=self._own))
        await participant.guard.aclose()

    def _call(self, *, who: int, number: int, cancel: int | None, **fields: Any) -> None:
        own = fields["own"] and (self._own or fields["own"])
        tasks = self.participants[who % len(self.participants)].ping(
            number,
            priority=fields["priority"],
            there=fields["there"] / 10,
            back=fields["back"] / 10,
            own="" if self._lossy else own,
            lost=fields["lost"] if self._lossy else None,
        )
        if cancel is not None:
            # Half of them, so that some calls remain that depend on cancelled ones.
            self._helpers.append(asyncio.create_task(self._cancel(tasks[::2], cancel / 10)))

    async def _cancel(self, tasks: list[asyncio.Task[Any]], seconds: float) -> None:
        await self.clock.clock.sleep(seconds)
        for task in tasks:
            task.cancel()

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """All calls and visits."""
        calls = [task for each in (*self.participants, *self.gone) for task in each.tasks]
        return calls + self._helpers


async def lived(
    events: list[tuple[Any, int]],
    concurrencies: list[int],
    *,
    own: str = "",
    lossy: bool = False,
    apart: float = 0.0,
) -> None:
    """Live through a history until everything is home, and check what must hold of any."""
    history = History(concurrencies, own=own, lossy=lossy, apart=apart)
    portal, clock = history.portal, history.clock
    for event, tenths in events:
        await history.live(event)
        await clock.advance(tenths / 10)
    await clock.advance(60 * 12 * 1.1)
    assert all(task.done() for task in history.tasks)
    await asyncio.gather(*history.tasks, return_exceptions=True)

    portal.down = portal.lost = None
    portal.accepted |= {"a", "b"}
    await clock.advance(WINDOW_SECONDS + RETRY_SECONDS)
    last = [task for each in history.participants for task in each.ping(3)]
    await clock.advance(15.0)

    assert ["pong"] * len(last) == [ending(task) for task in last]
    assert portal.most_in_a_minute <= 4
    assert [] == history.too_busy


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(events=histories(*ORDINARY, *RESTORES), concurrencies=MEMBERS)
async def test_no_history_of_members_leads_to_a_lock_out(
    events: list[tuple[Any, int]], concurrencies: list[int]
) -> None:
    """Never 5 refusals in a minute in sum, slots hold in sum, and a valid secret is used again."""
    await lived(events, concurrencies)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(events=histories(*ORDINARY, *LOSSES), concurrencies=MEMBERS)
async def test_participants_that_are_killed_or_stall_do_not_lead_to_a_lock_out(
    events: list[tuple[Any, int]], concurrencies: list[int]
) -> None:
    """Calls of killed or stalled participants must count as refused until the secret works."""
    await lived(events, concurrencies, lossy=True)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(events=histories(*ORDINARY, *RESTORES), concurrencies=MEMBERS)
async def test_errors_that_read_like_refusals_do_not_lead_to_a_lock_out(
    events: list[tuple[Any, int]], concurrencies: list[int]
) -> None:
    """The kind is harmless after a while, so a token that flaps within a minute is not covered."""
    await lived(events, concurrencies, own=REFUSAL, apart=WINDOW_SECONDS)
