"""The ledger's records: its knowledge of an origin, reports of participants, answers to them."""

from __future__ import annotations

import hashlib
from enum import StrEnum, unique
from typing import Annotated

import msgspec

from exporter.clock import Stamp


VERSION = 1

#: No participant has as many slots; each would be counted by itself.
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
    """The end of a proof."""

    ACCEPTED = "accepted"
    REFUSED = "refused"

    #: There was no answer, and it may have been refused.
    IN_DOUBT = "in doubt"

    #: It cannot have been refused: it was not sent, or a gateway answered.
    UNASKED = "unasked"


class Suspect(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A reply that looked like a refusal; the texts are digests.

    Attributes:
        kind: The error: flags, and text without digits.
        target: Whose call it was.
    """

    kind: str
    target: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The turn of a participant that does not see the calls of others.

    Attributes:
        seconds: How long after a minute its turn to prove comes.
        quiet_seconds: For how long from now it sends nothing.
    """

    seconds: float
    quiet_seconds: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A participant's report on itself and on its calls since its last report.

    Attributes:
        credentials: Digest of the secret as it is now; empty while it cannot be read.
        concurrency: The most slots it may have.
        waiting: Whether it has calls that wait for a slot, or suspects that wait for a verdict.
        under_way: Its calls that have a slot.
        trusts: Whether a call of its own was accepted with these credentials.
        accepted: When the newest accepted call was sent, by the state's clock or earlier.
        passed: Cleared errors that did not come again when their targets were asked.
        doubts: Calls that ended without saying whether they were refused.
        refusals: Calls that were refused, though not for these credentials: a token that they had
            got was over.
        proof: The end of the proof it was let to send.
        proof_sent: When that was sent, by the state's clock or earlier.
        has_proof_slot: Whether its call in the proof's slot is under way.
        wants_proof_slot: Whether it would ask a target again, to confirm that its error is
            harmless.
        turn: What it heeds while the ledger is not shared with all who call.
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
        slots: How many calls it may have under way for the next `LEASE_SECONDS`.
        proof_slot: Whether the proof's slot is its own.
        until: When the next proof may be sent while the phase is open; when there will be room
            while there is none.
        refused: Whether the phase is open because a proof was refused.
        full: Whether waiting is in vain, since there is no room before `until`.
        quiet: Whether that is because the ledger is not shared, so that nothing is sent.
        proofs: How many proofs of these credentials have been decided.
        room: How many suspects, doubts and slots there may be, the proof's slot left out.
        suspects, doubts: When the possibly refused calls of the last minute came home, those of
            all participants.
        harmless: Kinds of errors that are no refusals.
        cleared: Errors with these credentials that a proof has cleared, and that are harmless if
            the same target gives them again.
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
    """A call that may have been refused, and when it came home."""

    at: Stamp
    credentials: str
    kind: str = ""
    target: str = ""


class Lease(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The slots of a participant; `since` is when it began to wait for them or got them."""

    credentials: str
    concurrency: Annotated[int, msgspec.Meta(ge=0)]
    slots: Annotated[int, msgspec.Meta(ge=0, le=_MOST_SLOTS)]
    waiting: bool
    since: Stamp
    expires: Stamp


class ProofSlot(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The slot for a proof or a confirmation, which one participant has at a time."""

    participant: str
    credentials: str
    expires: Stamp


class Verdict(msgspec.Struct, kw_only=True, array_like=True):
    """The state of some credentials.

    Attributes:
        until: When the next proof may be sent while the phase is open.
        refused: Whether it is open because a proof was refused.
        proofs: How many proofs have been decided.
        accepted: When the newest accepted call was sent.
        used: When a participant last reported with them.
    """

    phase: Phase = Phase.UNPROVEN
    until: Stamp = 0.0
    refused: bool = False
    proofs: int = 0
    accepted: Stamp = 0.0
    used: Stamp = 0.0


class Record(msgspec.Struct, kw_only=True):
    """Everything about one origin. No secret is in it: credentials, kinds, targets are digests."""

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
