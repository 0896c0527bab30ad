"""The ledger's document in the state, and a state that fails."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from structlog.testing import capture_logs

from exporter.errors import CallError, Reason
from exporter.lockout.record import VERSION, Phase, Proved, Record, Report, Turn
from tests.support.ledger import ledger_of
from tests.support.participants import Participant
from tests.support.portal import Portal, end, ending


if TYPE_CHECKING:
    from exporter.state.base import Document
    from exporter.state.memory import MemoryState
    from tests.support.clock import FakeClock


CANARY = "canary-7f3a"


async def documents(state: MemoryState) -> dict[str, Document]:
    """Return the ledgers."""
    return await state.documents("lockout/")


def report(participant: str, *, concurrency: int = 3, **fields: Any) -> Report:
    """Make the report of a participant that knows its secret to be good."""
    return Report(
        participant=participant, credentials="a", concurrency=concurrency, trusts=True, **fields
    )


class TestDocument:
    async def test_nothing_in_it_is_in_clear(self, portal: Portal, state: MemoryState) -> None:
        """Secrets, addresses, targets and the vendor's texts are hashed."""
        portal.accepted.add(CANARY)
        participant = Participant(portal, state, secret=CANARY, url=f"https://{CANARY}.example.net")
        await participant.calls()

        for _ in range(3):
            await participant.calls(own=f"error {CANARY}", target=f"agent {CANARY}")

        content = b"".join(
            key.encode() + each.value for key, each in (await state.documents("")).items()
        )
        assert len(content) > 100
        assert CANARY.encode() not in content

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xc1 no msgpack",
            msgspec.msgpack.encode({"version": VERSION, "suspects": "none"}),
            msgspec.msgpack.encode(Record(version=VERSION + 1)),
            b"\x91" * 100_000,
            *(
                msgspec.msgpack.encode({"version": VERSION} | wrong)
                for wrong in (
                    {"suspects": [[1e18, "", "", ""]]},
                    {"suspects": [[float("nan"), "", "", ""]]},
                    {"doubts": [[-1e18, "", "", ""]]},
                    {"verdicts": {"": ["open", float("inf")]}},
                    {"leases": {"one": ["", 1, 10**18, False, 0.0, 0.0]}},
                )
            ),
        ],
        ids=[
            "empty",
            "noise",
            "another shape",
            "newer",
            "nested",
            "far ahead",
            "no number",
            "before all",
            "for ever",
            "slots without end",
        ],
    )
    async def test_what_cannot_be_read_is_forgotten(
        self, portal: Portal, state: MemoryState, content: bytes
    ) -> None:
        """A damaged ledger must not stop the polls; the log says that it is forgotten."""
        await Participant(portal, state).calls()
        (key,) = await documents(state)
        await state.put(key, content)

        with capture_logs() as logs:
            endings = await Participant(portal, state).calls()

        assert ["pong"] == endings
        assert ["ledger_forgotten"] == [each["event"] for each in logs]
        assert 2 == portal.proofs


class TestFourth:
    async def test_one_member_has_it_at_a_time(self, clock: FakeClock) -> None:
        """Two confirmations at once would be one call too many."""
        ledger = ledger_of(clock)
        await ledger.step(report("one", proof=Proved.ACCEPTED), retry_seconds=60.0)

        answers = [
            await ledger.step(report(name, wants_proof_slot=True), retry_seconds=60.0)
            for name in ("one", "other")
        ]

        assert [True, False] == [each.proof_slot for each in answers]

    async def test_it_needs_room_like_the_others(self, clock: FakeClock) -> None:
        """The ledger must grant no slot for a proof while another participant holds all slots."""
        ledger = ledger_of(clock)
        many = report("many", concurrency=5, waiting=True, proof=Proved.ACCEPTED)
        slots = (await ledger.step(many, retry_seconds=60.0)).slots

        answer = await ledger.step(
            report("few", concurrency=1, wants_proof_slot=True), retry_seconds=60.0
        )

        assert (5, False) == (slots, answer.proof_slot)


class TestRenewedToken:
    """A call that was refused for a token, while the credentials can get another one."""

    async def test_counts_for_a_minute_and_holds_nothing(self, clock: FakeClock) -> None:
        """A lone refusal must count for a minute, need no proof, and hold no slot."""
        ledger = ledger_of(clock)
        await ledger.step(report("one", proof=Proved.ACCEPTED), retry_seconds=60.0)
        refused = report("one", waiting=True, refusals=1, accepted=clock.monotonic)

        answer = await ledger.step(refused, retry_seconds=60.0)
        clock.shift(60.9)
        at_the_end = await ledger.step(report("one"), retry_seconds=60.0)
        clock.shift(0.1)
        after_it = await ledger.step(report("one"), retry_seconds=60.0)

        assert (Phase.PROVEN, 2) == (answer.phase, answer.slots)
        assert [1, 1, 0] == [len(each.suspects) for each in (answer, at_the_end, after_it)]

    async def test_is_not_cleared_of_by_a_proof(self, clock: FakeClock) -> None:
        """A proof that was refused its token, and then accepted, has proven the credentials."""
        ledger = ledger_of(clock)
        proved = report("one", waiting=True, refusals=1, proof=Proved.ACCEPTED)

        answer = await ledger.step(proved, retry_seconds=60.0)

        assert (Phase.PROVEN, False, 1) == (answer.phase, answer.proof_slot, len(answer.suspects))

    async def test_holds_the_calls_when_there_are_many(self, clock: FakeClock) -> None:
        """Three a minute leave room for nothing but a proof."""
        ledger = ledger_of(clock)
        await ledger.step(report("one", proof=Proved.ACCEPTED), retry_seconds=60.0)

        answer = await ledger.step(report("one", waiting=True, refusals=3), retry_seconds=60.0)

        assert (True, 0) == (answer.full, answer.slots)

    async def test_holds_no_shard_for_its_turn(self, clock: FakeClock) -> None:
        """A shard without a shared ledger must be granted its slot at once, not in a minute."""
        ledger = ledger_of(clock)
        alone = partial(report, "one", concurrency=1, turn=Turn(seconds=20.0))
        await ledger.step(alone(proof=Proved.ACCEPTED), retry_seconds=60.0)

        answer = await ledger.step(alone(waiting=True, refusals=1), retry_seconds=60.0)

        assert (Phase.PROVEN, 1) == (answer.phase, answer.slots)


class TestStateError:
    async def test_who_waits_fails_and_the_log_says_so_once(
        self, portal: Portal, state: MemoryState
    ) -> None:
        """Without the ledger, calls must fail at once, and the log say so once."""
        participant = Participant(portal, state)
        await participant.calls()
        participant.lose_ledger()
        with capture_logs() as logs:
            endings = await participant.calls(5)
            again = await participant.calls(5)

        assert ["not sent: blocked"] * 5 == endings == again
        assert ["guard_crashed"] == [each["event"] for each in logs]

    async def test_it_works_again_when_the_state_does(
        self, portal: Portal, state: MemoryState
    ) -> None:
        """No restart is needed; a new failure is said again."""
        participant = Participant(portal, state)
        participant.lose_ledger()
        with capture_logs() as logs:
            await participant.calls()
            participant.lose_ledger(away=False)
            endings = await participant.calls(3)
            participant.lose_ledger()
            await participant.calls()

        assert ["pong"] * 3 == endings
        assert ["guard_crashed"] * 2 == [each["event"] for each in logs]

    async def test_a_suspect_fails_and_counts_later(
        self, clock: FakeClock, portal: Portal, state: MemoryState
    ) -> None:
        """Without the ledger, a suspect call must fail at once, and count as soon as it is back."""
        participant = Participant(portal, state)
        await participant.calls()
        tasks = participant.ping(3)
        await clock.advance(0.05)
        portal.accepted.clear()
        participant.lose_ledger()
        with capture_logs():
            endings = await end(clock, tasks, 1.0)
        participant.lose_ledger(away=False)

        later = await participant.calls()

        assert (["not sent: blocked"] * 3, ["not sent: auth"]) == (endings, later)
        assert 4 == len(portal.refusals) == participant.guard.refusals

    async def test_a_doubt_counts_later(
        self, clock: FakeClock, portal: Portal, state: MemoryState
    ) -> None:
        """A doubt, such as a call without an answer, must count when the ledger is back."""
        participant = Participant(portal, state)
        await participant.calls()
        tasks = participant.ping(2, lost=CallError(Reason.TIMEOUT, "no reply"))
        await clock.advance(0.05)
        participant.lose_ledger()
        with capture_logs():
            await clock.advance(5.0)
        participant.lose_ledger(away=False)
        portal.accepted.clear()

        await participant.calls(3)

        assert ["timeout"] * 2 == [ending(task) for task in tasks]
        # The two lost calls leave room for one call and the proof.
        assert 2 == len(portal.refusals)
        assert 4 == participant.guard.refusals


class TestApart:
    async def test_a_confirmation_waits_for_the_call_under_way(self, clock: FakeClock) -> None:
        """A confirmation must wait for the shard's own call under way, whatever that is for."""
        ledger = ledger_of(clock)
        apart = partial(report, "one", concurrency=1, turn=Turn(seconds=20.0))
        await ledger.step(apart(proof=Proved.ACCEPTED), retry_seconds=60.0)

        busy = await ledger.step(
            apart(under_way=1, waiting=True, wants_proof_slot=True), retry_seconds=60.0
        )
        idle = await ledger.step(apart(waiting=True, wants_proof_slot=True), retry_seconds=60.0)

        assert (False, True) == (busy.proof_slot, idle.proof_slot)
        assert 0 == idle.slots
