from __future__ import annotations

import asyncio
import gc
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from exporter.errors import BlockedError, CallError, PollError, Reason, SuspectError
from exporter.lockout.policy import Policy
from exporter.lockout.queue import Priority
from tests.support.clock import FakeClock, settle
from tests.support.ledger import ledger_of
from tests.support.portal import OWN, Portal, begin, end, ending


if TYPE_CHECKING:
    from exporter.lockout.guard import Guard


WINDOW_SECONDS = Policy().window_seconds

DROPPED = CallError(Reason.CONNECT, "the connection was dropped", lost=True)

#: Errors of calls that may have been refused.
SILENCES = {
    "late": CallError(Reason.TIMEOUT, "no reply in time"),
    "dropped": DROPPED,
    "cut off": CallError(Reason.CONNECT, "the reply was cut off"),
    "nonsense": CallError(Reason.DECODE, "the reply is not the JSON that was expected"),
    "redirect": CallError(Reason.HTTP_4XX, "status 302", status=302),
    "bad request": CallError(Reason.HTTP_4XX, "status 400", status=400),
    "server error": CallError(Reason.HTTP_5XX, "status 500", status=500),
}


async def proven(clock: FakeClock, portal: Portal, guard: Guard) -> None:
    """Let a guard learn that the secret is accepted."""
    assert ["pong"] == await end(clock, begin(guard, portal.ping, 1), 1.0)


class TestProof:
    async def test_one_proof_goes_before_everything(self, clock: FakeClock, portal: Portal) -> None:
        """Before any other call, exactly one call must prove that the secret is accepted."""
        tasks = begin(portal.guard(), portal.ping, 40)
        await clock.advance(0.15)

        assert (1, 1) == (portal.proofs, portal.busiest)
        assert ["pong"] * 40 == await end(clock, tasks)
        assert 1 == portal.proofs
        assert 3 == portal.busiest

    async def test_a_wrong_secret_costs_one_refusal(self, clock: FakeClock, portal: Portal) -> None:
        """A secret that was wrong from the start must not be tried twice."""
        portal.secret = "wrong"
        guard = portal.guard()

        endings = await end(clock, begin(guard, portal.ping, 40))
        later = await end(clock, begin(guard, portal.ping, 40))

        assert ["not sent: auth"] * 40 == endings
        assert ["not sent: blocked"] * 40 == later
        assert 1 == len(portal.refusals)
        assert (True, True, True) == (guard.open, guard.auth_failed, guard.blocked)

    async def test_a_proof_without_an_answer_says_nothing(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """If a proof gets no answer, the queued calls must fail unsent, and the next one proves."""
        portal.down = CallError(Reason.CONNECT, "refused", sent=False)
        guard = portal.guard()

        endings = await end(clock, begin(guard, portal.ping, 5))
        portal.down = None
        later = await end(clock, begin(guard, portal.ping, 5))

        assert ["not sent: connect"] * 5 == endings
        assert ["pong"] * 5 == later
        assert not guard.open

    async def test_a_vendor_that_is_not_reached_is_asked_every_time(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A call that was never sent must not count as possibly refused."""
        portal.down = CallError(Reason.DNS, "not found", sent=False)
        guard = portal.guard()

        for _ in range(10):
            await end(clock, begin(guard, portal.ping, 1), 1.0)

        assert 10 == portal.proofs

    async def test_a_vendor_that_never_answers_is_asked_four_times_a_minute(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """Proofs that were not answered may have been refused."""
        portal.down = CallError(Reason.TIMEOUT, "no reply")
        guard = portal.guard()

        for _ in range(10):
            await end(clock, begin(guard, portal.ping, 1), 1.0)

        assert 4 == portal.proofs
        assert guard.blocked
        assert not guard.open

    @pytest.mark.usefixtures("uncollected")
    async def test_errors_that_were_handled_are_gone(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """Errors that were handled must be freed, of proofs as of calls."""
        guard = portal.guard()
        portal.down = CallError(Reason.CONNECT, "to be gone", sent=False)
        await end(clock, begin(guard, portal.ping, 1))
        portal.down = None
        await end(clock, begin(guard, partial(portal.ping, own="to be gone"), 2))

        await guard.aclose()

        left = [str(each) for each in gc.get_objects() if isinstance(each, PollError)]
        assert [] == [text for text in left if "gone" in text]

    async def test_a_bug_in_the_proof_reaches_those_who_wait(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A programming error must neither hang nor pass for a network's."""
        portal.down = ZeroDivisionError()
        tasks = begin(portal.guard(), portal.ping, 2)
        await clock.advance(1.0)

        assert [ZeroDivisionError] * 2 == [type(task.exception()) for task in tasks]


class TestSuspects:
    async def test_a_revocation_under_way_costs_four_refusals(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A revocation must cost four refusals: three calls under way, and one proof."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        tasks = begin(guard, portal.ping, 40)
        await clock.advance(1.05)

        portal.accepted.clear()
        endings = Counter(await end(clock, tasks))

        assert 4 == len(portal.refusals)
        assert 3 == endings["auth"]
        assert endings["not sent: auth"] + endings["pong"] == 37
        assert guard.auth_failed

    async def test_an_answer_from_before_the_revocation_proves_nothing(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A success of a call sent before the revocation must prove nothing."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        early = begin(guard, lambda: portal.ping(0.1, 5.0), 1)
        await clock.advance(0.5)
        portal.accepted.clear()
        late = begin(guard, lambda: portal.ping(0.1, 0.1), 1)
        await clock.advance(1.0)
        waiting = begin(guard, portal.ping, 5)

        endings = await end(clock, [*early, *late, *waiting])

        assert ["pong", "auth", *["not sent: auth"] * 5] == endings
        assert 2 == len(portal.refusals)

    async def test_the_proof_is_sent_when_all_are_home(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """Only a proof sent after the last suspect came home can clear it."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        begin(guard, lambda: portal.ping(own=OWN), 1)
        begin(guard, lambda: portal.ping(0.1, 5.0), 1)

        await clock.advance(5.0)
        before = portal.proofs
        await clock.advance(5.0)

        assert (1, 2) == (before, portal.proofs)

    async def test_an_error_of_the_calls_own_is_told_as_such(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """When the proof is accepted, the suspect fails with its own error and the rest goes on."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        odd = begin(guard, lambda: portal.ping(own=OWN), 1)
        others = begin(guard, portal.ping, 10)

        endings = await end(clock, [*odd, *others])

        assert ["api_error", *["pong"] * 10] == endings
        assert OWN == str(odd[0].exception())
        assert not guard.open

    async def test_suspects_stay_unclear_when_the_proof_gets_no_answer(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """If a proof gets no answer, suspect calls must fail unsent, for the proof's reason."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        portal.down = CallError(Reason.TIMEOUT, "no reply")

        endings = await end(clock, begin(guard, lambda: portal.ping(own=OWN), 1))

        assert ["not sent: timeout"] == endings
        assert not guard.open
        portal.down = None
        assert ["pong"] == await end(clock, begin(guard, portal.ping, 1))
        assert 3 == portal.proofs

    async def test_suspects_of_a_minute_are_limited(self, clock: FakeClock, portal: Portal) -> None:
        """A suspect call must count for a minute, even if a proof has cleared it."""
        guard = portal.guard()
        await proven(clock, portal, guard)

        endings = Counter(await end(clock, begin(guard, portal.babble, 10)))

        assert {"api_error": 3, "not sent: blocked": 7} == endings
        assert guard.blocked
        assert not guard.auth_failed

    async def test_a_minute_later_there_is_room_again(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A guard without room needs nothing but time."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        await end(clock, begin(guard, portal.babble, 10))
        await clock.advance(WINDOW_SECONDS)

        assert not guard.blocked
        assert ["pong"] * 5 == await end(clock, begin(guard, portal.ping, 5))

    async def test_without_room_for_a_proof_it_opens(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """After four refusals at once, no proof may be sent, and the guard must open."""
        guard = portal.guard(concurrency=4)
        await proven(clock, portal, guard)
        portal.accepted.clear()

        endings = await end(clock, begin(guard, portal.ping, 6))

        assert ["not sent: blocked"] * 6 == endings
        assert 4 == len(portal.refusals)
        assert (True, False, True) == (guard.open, guard.auth_failed, guard.blocked)


class TestOpen:
    async def refused(self, clock: FakeClock, portal: Portal, guard: Guard) -> None:
        """Open a guard."""
        portal.accepted.clear()
        await end(clock, begin(guard, portal.ping, 1), 1.0)
        assert guard.auth_failed

    async def test_it_asks_once_when_its_time_has_passed(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """After `auth_retry` one proof is sent, and its refusal opens the guard again."""
        guard = portal.guard(retry_seconds=300)
        await self.refused(clock, portal, guard)
        await clock.advance(299.0)
        early = await end(clock, begin(guard, portal.ping, 3), 0.5)
        await clock.advance(1.0)

        assert not guard.blocked
        late = await end(clock, begin(guard, portal.ping, 3), 0.5)

        assert ["not sent: blocked"] * 3 == early
        assert ["not sent: auth"] * 3 == late
        assert 2 == len(portal.refusals)
        assert guard.blocked

    async def test_it_closes_when_the_secret_is_accepted(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A token that is valid again needs no restart."""
        guard = portal.guard(retry_seconds=60)
        await self.refused(clock, portal, guard)
        portal.accepted.add("a")
        await clock.advance(60.0)

        assert ["pong"] * 3 == await end(clock, begin(guard, portal.ping, 3))
        assert (False, False, False) == (guard.open, guard.auth_failed, guard.blocked)

    async def test_a_new_secret_is_tried_at_once(self, clock: FakeClock, portal: Portal) -> None:
        """After a rotation, the new token must be tried at once, not after `auth_retry`."""
        guard = portal.guard()
        await self.refused(clock, portal, guard)
        portal.secret = "b"
        portal.accepted.add("b")

        assert not guard.blocked
        assert ["pong"] == await end(clock, begin(guard, portal.ping, 1))

    async def test_a_secret_that_cannot_be_read_is_no_new_one(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """An unreadable file must not set off a proof with each call."""
        guard = portal.guard()
        await self.refused(clock, portal, guard)
        portal.secret = ""

        assert guard.blocked
        assert ["not sent: blocked"] == await end(clock, begin(guard, portal.ping, 1))

    async def test_a_secret_that_flips_stays_within_the_limit(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """Each content is new, but the vendor counts them all."""
        guard = portal.guard()
        await self.refused(clock, portal, guard)

        for number in range(120):
            portal.secret = "ab"[number % 2]
            await end(clock, begin(guard, portal.ping, 2), 1.0)

        assert 2 == portal.most_in_a_minute
        assert len(portal.refusals) >= 2

    async def test_a_reload_does_not_reset_it(self, clock: FakeClock, portal: Portal) -> None:
        """A new guard over the same ledger with the same secret stays open."""
        ledger = ledger_of(clock)
        await self.refused(clock, portal, portal.guard(ledger))
        again = portal.guard(ledger)

        endings = await end(clock, begin(again, portal.ping, 1))

        assert ["not sent: blocked"] == endings
        assert again.auth_failed
        assert 1 == len(portal.refusals)

    async def test_a_verdict_stands_until_the_next(self, clock: FakeClock, portal: Portal) -> None:
        """A proof without an answer takes nothing back of a refusal."""
        guard = portal.guard(retry_seconds=60)
        await self.refused(clock, portal, guard)
        await clock.advance(60.0)
        portal.down = CallError(Reason.CONNECT, "refused", sent=False)

        await end(clock, begin(guard, portal.ping, 1), 1.0)

        assert guard.auth_failed
        assert not guard.blocked


class TestSilence:
    @pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES.keys())
    async def test_silent_targets_do_not_stop_the_others(
        self, clock: FakeClock, portal: Portal, silence: CallError
    ) -> None:
        """Calls that are never answered are cleared by a proof, and the rest goes on."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        lost = begin(guard, lambda: portal.ping(lost=silence), 10)
        others = begin(guard, portal.ping, 10)

        endings = await end(clock, [*lost, *others])

        assert [*[str(silence.reason)] * 10, *["pong"] * 10] == endings
        assert not guard.open

    @pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES.keys())
    async def test_silent_refusals_are_limited(
        self, clock: FakeClock, portal: Portal, silence: CallError
    ) -> None:
        """A refusal whose answer is lost must count."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        portal.accepted.clear()

        await end(clock, begin(guard, lambda: portal.ping(lost=silence), 40))

        assert 4 == len(portal.refusals)
        assert guard.auth_failed

    @pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES.keys())
    async def test_a_vendor_that_refuses_in_silence_is_asked_four_times_a_minute(
        self, clock: FakeClock, portal: Portal, silence: CallError
    ) -> None:
        """Calls that end without an answer must count as possibly refused, proofs included."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        portal.accepted.clear()
        portal.lost = silence

        for _ in range(30):
            await end(clock, begin(guard, portal.ping, 40), 10.0)

        assert 4 == portal.most_in_a_minute

    async def test_a_gateway_that_is_down_is_asked_every_time(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A gateway's error must hold no call back: the API was not asked."""
        portal.down = CallError(Reason.HTTP_5XX, "status 502", status=502)
        guard = portal.guard()

        for _ in range(10):
            await end(clock, begin(guard, portal.ping, 1), 1.0)

        assert 10 == portal.proofs


class TestLost:
    async def test_a_lost_call_is_sent_once_more(self, clock: FakeClock, portal: Portal) -> None:
        """A connection that ends at the wrong moment must not cost a reading."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        endings = iter([DROPPED, None])

        assert ["pong"] == await end(
            clock, begin(guard, lambda: portal.ping(lost=next(endings)), 1)
        )

    async def test_it_is_not_sent_a_third_time(self, clock: FakeClock, portal: Portal) -> None:
        """A vendor that drops whatever comes gets no more to do."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        endings = iter([DROPPED, DROPPED, None])

        assert ["connect"] == await end(
            clock, begin(guard, lambda: portal.ping(lost=next(endings)), 1)
        )

    async def test_without_a_place_for_it_what_happened_is_told(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A lost call that cannot be repeated must fail for its own reason."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        portal.accepted.clear()

        lost = begin(guard, lambda: portal.ping(lost=DROPPED), 3)

        assert ["connect"] * 3 == await end(clock, lost)
        assert guard.auth_failed
        assert 4 == len(portal.refusals)

    async def test_a_lost_proof_is_sent_once_more(self, clock: FakeClock, portal: Portal) -> None:
        """A lost proof must be sent once more."""
        guard = portal.guard()
        portal.lost = DROPPED
        tasks = begin(guard, portal.ping, 5)
        await clock.advance(0.25)
        portal.lost = None

        assert ["pong"] * 5 == await end(clock, tasks)
        assert 2 == portal.proofs

    async def test_a_proof_is_not_sent_a_third_time(self, clock: FakeClock, portal: Portal) -> None:
        """Room is left for the next cycle, which would otherwise have to wait for a minute."""
        guard = portal.guard()
        portal.lost = DROPPED

        endings = await end(clock, begin(guard, portal.ping, 5))

        assert ["not sent: connect"] * 5 == endings
        assert 2 == portal.proofs
        assert not guard.blocked


class TestCancellation:
    async def test_what_was_sent_keeps_its_place(self, clock: FakeClock, portal: Portal) -> None:
        """A cancelled call is still under way at the vendor; its answer is waited for."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        first = begin(guard, lambda: portal.ping(5.0, 5.0), 3)
        await settle()
        for task in first:
            task.cancel()
        others = begin(guard, portal.ping, 3)

        early = await end(clock, others, 9.0)
        late = await end(clock, others, 9.0)

        assert ["under way"] * 3 == early
        assert ["pong"] * 3 == late
        assert 3 == portal.busiest

    async def test_a_refusal_counts_though_nobody_waits_for_it(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A cancelled call that was refused must not be missed."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        portal.accepted.clear()
        first = begin(guard, portal.ping, 3)
        await settle()
        for task in first:
            task.cancel()

        endings = await end(clock, begin(guard, portal.ping, 10))

        assert 4 == len(portal.refusals)
        assert ["not sent: auth"] * 10 == endings

    async def test_who_waits_may_leave(self, clock: FakeClock, portal: Portal) -> None:
        """A proof must go on when the calls that asked for it are cancelled."""
        guard = portal.guard()
        first = begin(guard, portal.ping, 3)
        await clock.advance(0.05)
        for task in first:
            task.cancel()

        endings = await end(clock, begin(guard, portal.ping, 3))

        assert ["pong"] * 3 == endings
        assert 1 == portal.proofs

    async def test_a_place_handed_over_in_vain_is_given_back(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A call that is cancelled as it is granted a slot must give the slot back."""
        guard = portal.guard(concurrency=1)
        await proven(clock, portal, guard)
        answered = asyncio.Event()
        begin(guard, answered.wait, 1)
        (next_one,) = begin(guard, portal.ping, 1)
        await settle()

        answered.set()
        await asyncio.sleep(0)  # as far as handing the place over, but not to its use
        next_one.cancel()

        assert ["cancelled"] == await end(clock, [next_one])
        assert ["pong"] == await end(clock, begin(guard, portal.ping, 1))


class TestLanes:
    @pytest.mark.parametrize(
        ("concurrency", "slow", "normal"),
        [(1, 1, 0), (2, 1, 1), (3, 2, 2), (4, 2, 2), (9, 5, 5)],
    )
    async def test_the_slow_have_half_of_the_places(
        self, clock: FakeClock, portal: Portal, concurrency: int, slow: int, normal: int
    ) -> None:
        """Slow calls must hold half of the slots at most, rounded up if no other call is queued."""
        guard = portal.guard(concurrency=concurrency)
        await proven(clock, portal, guard)
        hanging = Portal(clock)
        portal.busiest = 0
        begin(guard, lambda: hanging.ping(5.0, 5.0), 20, priority=Priority.SLOW)
        begin(guard, portal.ping, 20)

        await clock.advance(9.0)

        assert slow == hanging.busiest
        assert normal == portal.busiest

    async def test_who_comes_after_a_renewal_does_not_wait_for_the_next(
        self, clock: FakeClock, portal: Portal
    ) -> None:
        """A call after a renewal must get a slot at once, even if all were given back."""
        guard = portal.guard()
        await proven(clock, portal, guard)
        begun = 0

        async def long() -> None:
            nonlocal begun
            begun += 1
            await clock.clock.sleep(5.0)

        begin(guard, long, 1)
        await clock.advance(1.0)
        begin(guard, long, 5)
        await settle()

        assert 3 == begun

    async def test_one_place_is_shared_in_turn(self, clock: FakeClock, portal: Portal) -> None:
        """With a concurrency of 1, calls must be sent in order, whatever their priority."""
        guard = portal.guard(concurrency=1)
        await proven(clock, portal, guard)
        order: list[str] = []

        async def named(name: str) -> None:
            order.append(name)
            await clock.clock.sleep(1.0)

        for number in range(3):
            begin(guard, lambda n=number: named(f"slow {n}"), 1, priority=Priority.SLOW)
            begin(guard, lambda n=number: named(f"normal {n}"), 1)
        await clock.advance(10.0)

        assert ["slow 0", "normal 0", "slow 1", "normal 1", "slow 2", "normal 2"] == order


async def test_a_pause_the_vendor_asked_for_is_passed_on(clock: FakeClock, portal: Portal) -> None:
    """A call that waits for a proof must report when the proof may be sent."""
    portal.down = BlockedError("wait", retry_at=1234.0, reason=Reason.RATE_LIMITED)
    (task,) = begin(portal.guard(), portal.ping, 1)
    await clock.advance(1.0)

    error = task.exception()

    assert isinstance(error, BlockedError)
    assert (Reason.RATE_LIMITED, 1234.0) == (error.reason, error.retry_at)


async def test_what_an_attempt_raises_reaches_its_caller(clock: FakeClock, portal: Portal) -> None:
    """Errors of a call that cannot be refusals must reach its caller unchanged."""
    guard = portal.guard()
    await proven(clock, portal, guard)

    async def fails() -> None:
        raise CallError(Reason.API_ERROR, "the reply is an error", status=200)

    async def crashes() -> None:
        raise ZeroDivisionError

    (failed,), (crashed,) = begin(guard, fails, 1), begin(guard, crashes, 1)
    await clock.advance(1.0)

    assert "api_error" == ending(failed)
    assert isinstance(crashed.exception(), ZeroDivisionError)


# Histories of a source: events, and the tenths of a second until the next.

TENTHS = st.integers(0, 9)
EXAMPLES = 100
# No shrinking: it takes minutes, and the shortest history is seldom the clearest.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
CALLS = st.fixed_dictionaries(
    {
        "number": st.sampled_from([1, 3, 12]),
        "there": st.integers(1, 5),
        "back": st.integers(1, 5),
        "own": st.sampled_from(["", "", "", OWN, "another error"]),
        "lost": st.sampled_from([None] * 6 + [*SILENCES.values()]),
        "priority": st.sampled_from([Priority.NORMAL, *Priority]),
        "cancel": st.none() | TENTHS,
    }
)
EVENTS = st.one_of(
    *[CALLS] * 4,
    *[st.sampled_from(["revoke", "restore"])] * 3,
    *[st.just("other secret")] * 2,
    st.sampled_from(["reload", "proofs fail", *["proofs work"] * 2]),
    st.sampled_from(["all is lost", *["all comes home"] * 2]),
    st.sampled_from([100, 300, 610]),
)


class History:
    """Lives through a history and keeps what came of it."""

    def __init__(self, concurrency: int, *, lost: bool) -> None:
        self.clock = FakeClock()
        self.portal = Portal(self.clock)
        self.tasks: list[asyncio.Task[Any]] = []
        self._ledger = ledger_of(self.clock)
        self._concurrency = concurrency
        self._lost = lost
        self._cancellers: list[asyncio.Task[None]] = []
        self.guard = self._connect()

    def _connect(self) -> Guard:
        return self.portal.guard(self._ledger, concurrency=self._concurrency, retry_seconds=60)

    async def live(self, event: Any) -> None:
        """Let one thing happen."""
        portal = self.portal
        match event:
            case int():
                await self.clock.advance(event / 10)
            case "revoke":
                portal.accepted.clear()
            case "restore":
                portal.restore("a")
            case "other secret":
                portal.secret = "b" if portal.secret == "a" else "a"
                self.tasks += begin(self.guard, portal.ping, 1)
            case "reload":
                self.guard = self._connect()
            case "proofs fail":
                portal.down = CallError(Reason.CONNECT, "refused", sent=False)
            case "proofs work":
                portal.down = None
            case "all is lost":
                portal.lost = DROPPED if self._lost else None
            case "all comes home":
                portal.lost = None
            case _:
                self._call(event)

    def _call(self, event: dict[str, Any]) -> None:
        priority = event["priority"]
        own = "" if self._lost else event["own"]
        lost = event["lost"] if self._lost else None
        tasks = begin(
            self.guard,
            lambda: self.portal.ping(event["there"] / 10, event["back"] / 10, own=own, lost=lost),
            event["number"],
            priority=priority,
        )
        self.tasks += tasks
        if event["cancel"] is not None:
            # Half of them, so that some calls remain that depend on cancelled ones.
            self._cancellers.append(
                asyncio.create_task(self._cancel(tasks[::2], event["cancel"] / 10))
            )

    async def _cancel(self, tasks: list[asyncio.Task[Any]], seconds: float) -> None:
        await self.clock.clock.sleep(seconds)
        for task in tasks:
            task.cancel()


async def lived(events: list[tuple[Any, int]], concurrency: int, *, lost: bool) -> History:
    """Live through a history until everything is home, and check what must hold of any."""
    history = History(concurrency, lost=lost)
    for event, tenths in events:
        await history.live(event)
        await history.clock.advance(tenths / 10)
    # Longer than all calls would take one by one.
    await history.clock.advance(60 * 12 * 1.1)
    assert all(task.done() for task in history.tasks)
    await asyncio.gather(*history.tasks, return_exceptions=True)
    assert history.portal.most_in_a_minute <= 4
    return history


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(
    events=st.lists(st.tuples(EVENTS, TENTHS), min_size=40, max_size=60),
    concurrency=st.sampled_from([1, 2, 3]),
)
async def test_no_history_leads_to_a_lock_out(
    events: list[tuple[Any, int]], concurrency: int
) -> None:
    """In no history may 5 calls a minute be refused, a call hang, or a valid secret stay unused."""
    history = await lived(events, concurrency, lost=False)

    history.portal.down = None
    history.portal.accepted |= {"a", "b"}
    await history.clock.advance(WINDOW_SECONDS)
    endings = await end(history.clock, begin(history.guard, history.portal.ping, 5))

    assert ["pong"] * 5 == endings
    assert (False, False) == (history.guard.open, history.guard.blocked)


@pytest.mark.slow
@settings(max_examples=EXAMPLES // 2, deadline=None, phases=PHASES)
@given(
    events=st.lists(
        st.tuples(EVENTS.filter(lambda e: e != "restore"), TENTHS), min_size=40, max_size=60
    ),
    concurrency=st.sampled_from([1, 2, 3]),
)
async def test_no_history_with_lost_answers_leads_to_a_lock_out(
    events: list[tuple[Any, int]], concurrency: int
) -> None:
    """Refusals that never came home count too, as long as no other secret is accepted later."""
    await lived([(e, t) for e, t in events if e != "other secret"], concurrency, lost=True)


def test_a_suspect_tells_its_own_error() -> None:
    """A suspect that is caught as an ordinary failure has a reason and a message."""
    own = CallError(Reason.API_ERROR, "answered with isError")

    error = SuspectError(own)

    assert (Reason.API_ERROR, "answered with isError") == (error.reason, str(error))
