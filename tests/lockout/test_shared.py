"""Credentials and slots that the participants of one ledger share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import CallError, Reason
from exporter.lockout.ledger import LEASE_SECONDS
from exporter.lockout.policy import Policy
from tests.support.participants import Participant
from tests.support.portal import OWN, Portal, end, ending


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.state.memory import MemoryState
    from tests.support.clock import FakeClock

    Make = Callable[..., Participant]


WINDOW_SECONDS = Policy().window_seconds

LATE = CallError(Reason.TIMEOUT, "no reply in time")


class TestVerdicts:
    async def test_a_fresh_verdict_is_trusted(self, portal: Portal, participant: Make) -> None:
        """A process that starts right after an accepted call sends no proof of its own."""
        await participant().calls(seconds=1.0)

        assert ["pong"] == await participant().calls(seconds=1.0)
        assert 1 == portal.proofs

    async def test_an_old_verdict_is_not_trusted(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """A process that comes a minute after the last accepted call proves first."""
        await participant().calls(seconds=0.0)
        await clock.advance(WINDOW_SECONDS + 1.0)
        portal.accepted.clear()

        assert ["not sent: auth"] * 3 == await participant().calls(3)
        assert (2, 1) == (portal.proofs, len(portal.refusals))

    async def test_an_own_verdict_is_trusted_for_longer(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """A source with a long interval does not prove before each poll."""
        first = participant()
        await first.calls()
        await clock.advance(10 * WINDOW_SECONDS)

        assert ["pong"] == await first.calls()
        assert 1 == portal.proofs

    async def test_a_refusal_holds_the_others_back(self, portal: Portal, participant: Make) -> None:
        """A refusal in one process must hold back the calls of all others."""
        portal.accepted.clear()
        await participant().calls(seconds=1.0)
        second = participant()

        assert ["not sent: blocked"] * 3 == await second.calls(3)
        assert second.guard.auth_failed
        assert 1 == len(portal.refusals)

    async def test_a_corrected_secret_is_tried_at_once(self, participant: Make) -> None:
        """The old secret is held back; its refusals count on, since the vendor counts them."""
        old = participant(secret="old")
        await old.calls(seconds=1.0)
        new = participant()

        assert ["pong"] == await new.calls(seconds=1.0)
        assert 1 == new.guard.refusals
        assert ["not sent: blocked"] == await old.calls(seconds=1.0)

    async def test_a_secret_corrected_while_the_old_is_proven_is_tried_at_once(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """A corrected secret must be tried at once, although the old one is being proven."""
        first = participant(secret="old")
        tasks = first.ping(2)
        await clock.advance(0.1)
        first.secret = "a"

        assert ["pong"] * 2 == await end(clock, tasks, 2.0)
        assert 1 == len(portal.refusals)

    async def test_the_proof_of_one_secret_says_nothing_of_the_next(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """A secret that changes while a slow proof is under way is proven itself."""
        first = participant(proof_seconds=2.0)
        tasks = first.ping(3)
        await clock.advance(0.5)
        first.secret = "wrong"

        assert ["not sent: auth"] * 3 == await end(clock, tasks)
        assert 1 == len(portal.refusals)
        assert ["pong"] == await participant().calls()
        assert 2 == portal.proofs

    async def test_a_good_secret_goes_on_beside_a_bad_one(
        self, portal: Portal, participant: Make
    ) -> None:
        """Two sources of one portal have a ledger in common, but each its own verdict."""
        good, bad = participant(), participant(secret="bad")
        await good.calls()

        assert ["not sent: auth"] * 5 == await bad.calls(5)
        assert ["pong"] * 5 == await good.calls(5)
        assert 1 == len(portal.refusals)

    async def test_origins_share_nothing(
        self, clock: FakeClock, portal: Portal, state: MemoryState, participant: Make
    ) -> None:
        """The vendor of another origin counts for itself."""
        portal.accepted.clear()
        await participant().calls()
        other = Portal(clock)
        elsewhere = Participant(other, state, url="https://portal.example.net:8443/api")

        assert ["pong"] == await elsewhere.calls()
        assert (0, 1) == (elsewhere.guard.refusals, other.proofs)

    async def test_paths_of_an_origin_share_a_ledger(
        self, portal: Portal, participant: Make
    ) -> None:
        """The port may be written or not."""
        await participant(url="https://portal.example.net/one").calls()

        assert ["pong"] == await participant(url="https://Portal.example.net:443/two").calls()
        assert 1 == portal.proofs

    async def test_doubts_of_another_secret_are_not_proven_away(
        self, portal: Portal, participant: Make
    ) -> None:
        """A proof clears the doubts of its own credentials only, so it is not tried in vain."""
        portal.accepted.add("b")
        good, bad = participant(), participant(secret="b")
        await good.calls(seconds=1.0)
        await bad.calls(seconds=1.0)
        portal.accepted.remove("b")
        await bad.calls(3, seconds=1.0, lost=LATE)
        before = portal.proofs

        assert ["not sent: blocked"] * 3 == await good.calls(3, seconds=1.0)
        assert before == portal.proofs

    async def test_five_wrong_from_the_start_cost_one_refusal(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """Five processes with a wrong secret must cost one refusal: one proof is under way."""
        portal.accepted.clear()
        tasks = [task for _ in range(5) for task in participant().ping(3)]
        await clock.advance(5.0)

        assert {"not sent: auth", "not sent: blocked"} == set(map(ending, tasks))
        assert 1 == len(portal.refusals)

    async def test_a_crash_loop_costs_four_refusals_a_minute(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """A crash loop with a wrong secret must cost four refusals a minute."""
        portal.accepted.clear()
        for _ in range(60):
            process = participant()
            process.ping(3)
            await clock.advance(0.15)
            process.kill()
            await clock.advance(1.5)

        assert 4 == portal.most_in_a_minute

    async def test_a_late_acceptance_does_not_outdo_a_newer_refusal(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """A participant that stalls may report a proof when another one has been refused since."""
        slow = participant()
        slow.ping()
        await clock.advance(0.1)
        slow.stall(5.0)
        await clock.advance(2.0)
        portal.accepted.clear()
        await participant().calls(seconds=1.0)
        await clock.advance(3.0)

        assert ["not sent: blocked"] * 3 == await participant().calls(3)
        assert 1 == len(portal.refusals)


class TestSlots:
    async def test_the_smallest_concurrency_holds_in_sum(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """The lowest configured concurrency must limit the calls of all processes together."""
        few, many = participant(concurrency=1), participant(concurrency=3)
        await few.calls()
        few.ping(50)
        await clock.advance(0.5)
        portal.busiest = 0

        many.ping(50)
        await clock.advance(10.0)

        assert 1 == portal.busiest

    @pytest.mark.parametrize("concurrency", [1, 2, 3])
    async def test_who_waits_gets_a_slot_within_seconds(
        self, clock: FakeClock, participant: Make, concurrency: int
    ) -> None:
        """A participant that always has calls does not keep the slots for ever."""
        busy, late = participant(concurrency=concurrency), participant(concurrency=concurrency)
        await busy.calls()
        busy.ping(200)
        await clock.advance(0.5)

        assert ["pong"] == await late.calls(seconds=2.0)

    @pytest.mark.parametrize("concurrency", [2, 3])
    async def test_several_slots_are_shared_at_the_next_renewal(
        self, clock: FakeClock, participant: Make, concurrency: int
    ) -> None:
        """When there is a slot for each process, a late one must get its slot within a renewal."""
        busy, late = participant(concurrency=concurrency), participant(concurrency=concurrency)
        await busy.calls()
        busy.ping(200)
        await clock.advance(0.5)

        assert ["pong"] == await late.calls(seconds=0.8)

    async def test_who_calls_one_by_one_gives_way_too(
        self, clock: FakeClock, participant: Make
    ) -> None:
        """No call waits when its slots are renewed, and yet it takes its turn."""
        busy, late = participant(concurrency=1), participant(concurrency=1)
        await busy.calls()

        async def one_by_one() -> None:
            for _ in range(50):
                await busy.call(there=0.35, back=0.35)

        task = busy.begin(one_by_one())
        await clock.advance(0.5)
        endings = await late.calls(seconds=3.0)
        task.cancel()

        assert ["pong"] == endings

    async def test_five_members_with_one_slot_all_get_on(
        self, clock: FakeClock, participant: Make
    ) -> None:
        """Five processes with one slot must take turns of a second."""
        participants = [participant(concurrency=1) for _ in range(5)]
        for each in participants:
            each.ping(100)

        await clock.advance(30.0)

        done = [sum(map(_is_pong, each.tasks)) for each in participants]
        assert min(done) >= 20, done

    async def test_slots_of_a_killed_member_are_doubts_until_a_proof(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """After a second they may have been refused for all that is known; a proof clears them."""
        victim, other = participant(), participant()
        await victim.calls()
        victim.ping(3, back=0.3)
        await clock.advance(0.1)
        victim.kill()
        await clock.advance(LEASE_SECONDS)
        before = portal.proofs

        tasks = other.ping()
        await clock.advance(0.05)
        doubts = other.guard.refusals

        assert ["pong"] == await end(clock, tasks, 1.0)
        assert (3, 1) == (doubts, portal.proofs - before)
        assert 0 == (await other.calls() and other.guard.refusals)

    async def test_before_that_they_are_taken(self, clock: FakeClock, participant: Make) -> None:
        """Slots of a killed process must stay taken until their lease is over."""
        victim, other = participant(), participant()
        await victim.calls()
        victim.ping(3, back=9.0)
        await clock.advance(0.1)
        victim.kill()

        assert ["under way"] == await other.calls(seconds=0.5)

    async def test_a_proof_slot_granted_too_late_is_not_used(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """When a participant hears of it after its time, another one has it."""
        slow, other = participant(), participant(proof_seconds=2.0)
        slow.stall(1.5, late=True)
        slow.ping()
        await clock.advance(1.2)
        other.ping()

        await clock.advance(0.8)

        assert 1 == portal.proofs

    async def test_closing_gives_the_slots_back(
        self, clock: FakeClock, portal: Portal, participant: Make
    ) -> None:
        """With calls under way it returns when they are home; the next has no doubt to clear."""
        leaver, other = participant(), participant()
        await leaver.calls()
        calls = leaver.ping(5, back=2.0)
        await clock.advance(0.1)
        closing = leaver.begin(leaver.guard.aclose())
        early = await end(clock, [closing], 1.0)

        late = await end(clock, [closing], 1.5)
        ends = sorted(map(ending, calls))

        assert (["under way"], ["None"]) == (early, late)
        assert ["connect"] * 2 + ["pong"] * 3 == ends
        assert ["pong"] * 3 == await other.calls(3, seconds=0.5)
        assert (0, 1) == (other.guard.refusals, portal.proofs)

    async def test_closing_does_not_wait_for_the_proof_of_another(
        self, clock: FakeClock, participant: Make
    ) -> None:
        """A suspect call whose source is closed must fail at once as a failed connection."""
        leaver, other = participant(), participant(proof_seconds=20.0)
        await leaver.calls()
        other.ping(own=OWN, back=1.0)
        (suspect,) = leaver.ping(own=OWN)
        await clock.advance(1.5)
        before = ending(suspect)
        closing = leaver.begin(leaver.guard.aclose())

        closed = await end(clock, [closing], 1.0)

        assert ("under way", ["None"], "connect") == (before, closed, ending(suspect))


def _is_pong(task: Any) -> bool:
    return "pong" == ending(task)
