"""The ledger's data: the record of an origin, the reports of participants, and the answers."""

from __future__ import annotations

import hashlib
from enum import StrEnum, unique
from typing import Annotated

import msgspec

from exporter.clock import Stamp


VERSION = 1

#: More slots than any participant has. A damaged record with more is rejected, because expired
#: slots become as many doubts in memory.
_MOST_SLOTS = 10**6


@unique
class Phase(StrEnum):
    """The state of some credentials."""

    UNPROVEN = "unproven"
    PROVEN = "proven"
    SUSPECT = "suspect"
    OPEN = "open"


@unique
class Proved(StrEnum):
    """The outcome of a proof."""

    ACCEPTED = "accepted"
    REFUSED = "refused"

    #: The proof got no answer and may have been refused.
    IN_DOUBT = "in doubt"

    #: The proof cannot have been refused: it was not sent, or a gateway answered.
    UNASKED = "unasked"


class Suspect(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A reply that looked like a refusal.

    Attributes:
        kind: Digest of the error: its flags, and its text without digits.
        target: Digest of the target that the call was about.
    """

    kind: str
    target: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The turn of a participant that does not see the calls of others.

    Attributes:
        seconds: How long after a minute's pause its turn to send a proof comes.
        quiet_seconds: How long from now the participant sends nothing.
    """

    seconds: float
    quiet_seconds: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A participant's report on itself and on its calls since its last report.

    Attributes:
        credentials: Digest of the current secret; empty while it cannot be read.
        concurrency: The participant's highest number of slots.
        waiting: Whether calls wait for a slot, or suspects for a verdict.
        under_way: Number of calls that have a slot.
        trusts: Whether this participant has had a call accepted with these credentials.
        accepted: When the newest accepted call was sent, by the state's clock or a little earlier.
        suspects: Replies that looked like refusals.
        passed: Cleared errors whose targets have answered without an error since.
        doubts: Number of calls that ended without saying whether they were refused.
        refusals: Number of calls that were refused because of an expired token, which the
            credentials can renew.
        proof: The outcome of a proof.
        proof_sent: When the proof was sent, by the state's clock or a little earlier.
        has_proof_slot: Whether a call in the proof's slot is in flight.
        wants_proof_slot: Whether a target is to be polled again, to confirm that its error is
            harmless.
        turn: The participant's turn while it does not see the calls of all others.
    """

    participant: str
    credentials: str
    concurrency: int
    waiting: bool = False
    under_way: int = 0
    trusts: bool = False
    accepted: float | None = None
    suspects: tuple[Suspect, ...] = ()
    passed: tuple[Suspect, ...] = ()
    doubts: int = 0
    refusals: int = 0
    proof: Proved | None = None
    proof_sent: float = 0.0
    has_proof_slot: bool = False
    wants_proof_slot: bool = False
    turn: Turn | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a participant; times are seconds of the state's clock.

    Attributes:
        slots: How many calls the participant may have in flight for the next `LEASE_SECONDS`.
        proof_slot: Whether the participant has the proof's slot.
        until: When the next proof may be sent while the phase is open; when there will be room
            while `full` is true.
        refused: Whether the phase is open because a proof was refused.
        full: Whether waiting is useless, because there is no room before `until`.
        quiet: Whether there is no room because the ledger is not shared.
        proofs: How many proofs of these credentials have been decided.
        room: The limit of suspects, doubts and slots together, without the proof's slot.
        suspects, doubts: When the possibly refused calls of the last minute ended, of all
            participants.
        harmless: Kinds of errors that are no refusals.
        cleared: Errors that a proof of these credentials has cleared. They become harmless if the
            same target returns them again.
    """

    now: float
    phase: Phase
    slots: int
    proof_slot: bool
    until: float
    refused: bool
    full: bool
    quiet: bool = False
    proofs: int
    room: int
    suspects: tuple[float, ...]
    doubts: tuple[float, ...]
    harmless: frozenset[str]
    cleared: tuple[Suspect, ...]


class Refusal(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A call that may have been refused; `at` is when it ended."""

    at: Stamp
    credentials: str
    kind: str = ""
    target: str = ""


class Lease(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The slots of a participant; `since` is when it got them or began to wait for them."""

    credentials: str
    concurrency: Annotated[int, msgspec.Meta(ge=0)]
    slots: Annotated[int, msgspec.Meta(ge=0, le=_MOST_SLOTS)]
    waiting: bool
    since: Stamp
    expires: Stamp


class ProofSlot(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The slot for a proof or a confirmation; one participant has it at a time."""

    participant: str
    credentials: str
    expires: Stamp


class Verdict(msgspec.Struct, kw_only=True, array_like=True):
    """The state of some credentials.

    Attributes:
        until: When the next proof may be sent while the phase is open.
        refused: Whether the phase is open because a proof was refused.
        proofs: How many proofs have been decided.
        accepted: When the newest accepted call was sent.
        used: When a participant last reported with these credentials.
    """

    phase: Phase = Phase.UNPROVEN
    until: Stamp = 0.0
    refused: bool = False
    proofs: int = 0
    accepted: Stamp = 0.0
    used: Stamp = 0.0


class Record(msgspec.Struct, kw_only=True):
    """The ledger of one origin, without secrets: credentials, kinds and targets are digests."""

    version: int = VERSION
    suspects: list[Refusal] = msgspec.field(default_factory=list)
    doubts: list[Refusal] = msgspec.field(default_factory=list)
    leases: dict[str, Lease] = msgspec.field(default_factory=dict)
    proof_slot: ProofSlot | None = None
    verdicts: dict[str, Verdict] = msgspec.field(default_factory=dict)
    harmless: dict[str, Stamp] = msgspec.field(default_factory=dict)
    unclear: dict[str, Stamp] = msgspec.field(default_factory=dict)
    cleared: dict[str, Stamp] = msgspec.field(default_factory=dict)


def digest(text: str, *, key: bytes = b"") -> str:
    """Return a short hash of a text."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), key=key, digest_size=12).hexdigest()
