"""The ledger: possibly refused calls, the state of each credentials, and the slots for calls.

The ledger is one record per origin of an API. It is kept in the state and counts the calls of all
processes that share the state: daemons, shards, `status`, `explain`, also after restarts. Every
change of the ledger is one call of `step`: a participant (the guard of a process) reports the
outcomes of its calls, and the answer says how many calls it may have in flight.

`Phase` is the state of some credentials:

unproven   Not known whether the vendor accepts them: one participant sends one proof, the cheapest
           call; all other calls wait.
proven     Calls are sent, as many at once as there are slots.
suspect    A reply looked like a refusal: no more calls are sent. When the calls in flight with
           these credentials have ended, one proof is sent. If it is accepted, the reply was an
           error of that one call. If it is refused, the phase becomes open; without an answer,
           unproven.
open       Nothing is sent until the time `until`; then as unproven.

The invariant: with a limit of 5 refusals a minute and a concurrency of up to 3, there are never 5
refused calls in any minute. It holds because every call that could be refused is counted before it
is sent: the suspects and doubts of the last minute and the slots of all participants are 3 at most.
The fourth is the proof's slot, which one participant at a time has for a proof or a confirmation.

* A suspect counts for a minute, even if a proof was accepted afterwards: the token may have been
  invalid for a moment, or for one of several servers.
* A call whose token was refused and renewed within one attempt counts for a minute, too, but is not
  a suspect.
* A doubt is a call without a readable answer, a slot of a participant that died, or a harmless
  error. It counts until a call sent later with the same credentials is accepted.
* An error becomes harmless, from any target, when the same target returns it again after an
  accepted proof. If a call to that target is accepted first, the token may have been invalid for a
  moment, and the error stays unknown. Harmless errors count as doubts, so three of them in a row
  without an accepted call lead to a proof. The invariant does not cover a token that is invalid,
  valid and invalid again within a minute if its refusals look like harmless errors.
* A participant has its slots for a second and gives them back or renews them; else they become
  doubts.

A participant that does not see the calls of all others reports with a `Turn`. It has one call under
way at a time, the proof included, and sends nothing for a minute after a suspect of any
credentials. So at most one of its calls is refused in any minute.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import structlog

from exporter.lockout.record import (
    VERSION,
    Answer,
    Lease,
    Phase,
    ProofSlot,
    Proved,
    Record,
    Refusal,
    Report,
    Suspect,
    Verdict,
    digest,
)
from exporter.state.base import salt


if TYPE_CHECKING:
    from exporter.lockout.policy import Policy
    from exporter.state.base import State


#: How long a participant has its slots. If others wait, it then makes room for them.
LEASE_SECONDS = 1.0

#: How many credentials, harmless kinds and cleared errors the record of an origin keeps, each for a
#: day after its last use.
REMEMBERED = 256
REMEMBERED_SECONDS = 86_400.0


class Ledger:
    """The ledger of one origin.

    Attributes:
        policy: The vendor's lock-out rules.
    """

    def __init__(self, state: State, url: str, policy: Policy) -> None:
        """Prepare the ledger of the origin of a URL: its scheme, host and port."""
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        self._state = state
        self._key = f"lockout/{digest(f'{parts.scheme}://{parts.hostname}:{port}')}"
        self._salt = b""
        self.policy = policy

    async def step(self, report: Report, *, retry_seconds: float) -> Answer:
        """Record a report and answer it, in one transaction.

        Args:
            report: The participant's report.
            retry_seconds: Pause after a refused proof, for its credentials.

        Returns:
            The slots and the phase, in seconds of the state's clock.

        Raises:
            StateError: The state cannot be used.
        """
        self._salt = self._salt or await salt(self._state)
        report = msgspec.structs.replace(
            report, credentials=digest(report.credentials, key=self._salt)
        )

        def change(content: bytes | None, now: float) -> tuple[bytes, Answer]:
            record = _decoded(content)
            answer = _Step(record, report, self.policy, now).answer(retry_seconds)
            return msgspec.msgpack.encode(record), answer

        return await self._state.update(self._key, change)


def _decoded(content: bytes | None) -> Record:
    if content is not None:
        try:
            record = msgspec.msgpack.decode(content, type=Record)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            record = None
        if record is not None and record.version == VERSION:
            return record
        structlog.get_logger("exporter.lockout").warning(
            "ledger_forgotten", message="the record is damaged or of another version"
        )
    return Record()


class _Step:
    """One change of a record."""

    def __init__(self, record: Record, report: Report, policy: Policy, now: float) -> None:
        self._record = record
        self._report = report
        self._policy = policy
        self._now = now
        self._verdict = record.verdicts.setdefault(report.credentials, Verdict())
        self._verdict.used = now
        # The report itself says how many slots are in use, so the reporter's lease cannot expire.
        self._lease = record.leases.pop(report.participant, None)

    def answer(self, retry_seconds: float) -> Answer:
        """Record the report and return the participant's slots and phase."""
        record, report, verdict = self._record, self._report, self._verdict
        self._forget()
        self._note(retry_seconds)
        self._renew_proof_slot()
        slots, full = 0, False
        quiet_until = self._quiet_until()
        quiet = self._now < quiet_until
        if quiet:
            slots, full = report.under_way, True
        elif self._needs_proof():
            full = not self._seek_proof()
        elif verdict.phase is Phase.PROVEN:
            slots = self._slots()
            if report.wants_proof_slot:
                self._take_proof_slot(slots)
            if report.waiting and self._is_filled and not self._others():
                full = True
                if self._can_clear:
                    # No call has room, so only a proof can clear the doubts.
                    verdict.phase = Phase.UNPROVEN
                    full = not self._seek_proof()
        self._keep_lease(slots)
        return Answer(
            now=self._now,
            phase=verdict.phase,
            slots=slots,
            proof_slot=record.proof_slot is not None
            and record.proof_slot.participant == report.participant,
            until=self._until(quiet_until, full=full),
            refused=verdict.refused,
            full=full,
            quiet=quiet,
            proofs=verdict.proofs,
            room=self._room,
            suspects=tuple(each.at for each in record.suspects),
            doubts=tuple(each.at for each in record.doubts),
            harmless=frozenset(record.harmless),
            cleared=tuple(
                Suspect(kind=kind, target=target)
                for _, kind, target in map(str.split, self._own(record.cleared))
            ),
        )

    def _forget(self) -> None:
        """Drop expired entries, and turn expired slots into doubts."""
        record, now = self._record, self._now
        for participant, lease in tuple(record.leases.items()):
            if lease.expires <= now:
                del record.leases[participant]
                lost = Refusal(at=lease.expires, credentials=lease.credentials)
                record.doubts += [lost] * lease.slots
        proof_slot = record.proof_slot
        if (
            proof_slot is not None
            and proof_slot.expires <= now
            and proof_slot.participant != self._report.participant
        ):
            record.proof_slot = None
            record.doubts.append(Refusal(at=proof_slot.expires, credentials=proof_slot.credentials))
        since = now - self._policy.window_seconds
        record.suspects = [each for each in record.suspects if each.at > since]
        record.doubts = [each for each in record.doubts if each.at > since]
        for known in (record.harmless, record.unclear, record.cleared):
            _prune(known, now)
        used = {name: verdict.used for name, verdict in record.verdicts.items()}
        for name in used.keys() - _prune(used, now).keys():
            del record.verdicts[name]

    def _note(self, retry_seconds: float) -> None:
        """Record the outcomes of the participant's calls and make the transitions of its phase."""
        report = self._report
        if report.accepted is not None:
            self._accepted(report.accepted)
        for _ in range(report.doubts):
            self._doubt()
        # Without credentials: a renewed token's refusal needs no proof of the credentials.
        self._record.suspects += [Refusal(at=self._now, credentials="")] * report.refusals
        for passed in report.passed:
            self._record.cleared.pop(self._key(passed), None)
        for suspect in report.suspects:
            self._suspect(suspect)
        if report.proof is not None:
            self._decide(report.proof, retry_seconds)

    def _suspect(self, suspect: Suspect) -> None:
        record, report, now = self._record, self._report, self._now
        if self._key(suspect) in record.cleared:
            record.harmless[suspect.kind] = now
            record.suspects = [
                each
                for each in record.suspects
                if (each.kind, each.credentials) != (suspect.kind, report.credentials)
            ]
        if suspect.kind in record.harmless:
            record.harmless[suspect.kind] = now
            self._doubt()
            return
        record.suspects.append(
            Refusal(
                at=now, credentials=report.credentials, kind=suspect.kind, target=suspect.target
            )
        )
        if suspect.kind:
            record.unclear[self._key(suspect)] = now
        if report.turn is not None:
            self._open(self._retry_at(0.0), refused=False)
        elif self._verdict.phase is Phase.PROVEN:
            self._verdict.phase = Phase.SUSPECT

    def _decide(self, proof: Proved, retry_seconds: float) -> None:
        report, verdict = self._report, self._verdict
        verdict.proofs += 1
        match proof:
            case Proved.ACCEPTED:
                self._accepted(report.proof_sent)
                self._clear(report.proof_sent)
            case Proved.REFUSED:
                refusal = Refusal(at=self._now, credentials=report.credentials)
                self._record.suspects.append(refusal)
                for key in self._own(self._record.unclear):
                    del self._record.unclear[key]
                self._open(self._retry_at(retry_seconds), refused=True)
            case Proved.IN_DOUBT | Proved.UNASKED:
                if proof is Proved.IN_DOUBT:
                    self._doubt()
                if verdict.phase is not Phase.OPEN:
                    # Only an accepted proof ends an open phase.
                    verdict.phase = Phase.UNPROVEN

    def _accepted(self, sent: float) -> None:
        self._verdict.accepted = max(self._verdict.accepted, sent)
        self._record.doubts = [
            each
            for each in self._record.doubts
            if each.credentials != self._report.credentials or each.at > sent
        ]

    def _clear(self, sent: float) -> None:
        """Continue after an accepted proof, which clears no suspect newer than itself."""
        record, verdict = self._record, self._verdict
        for key in self._own(record.unclear):
            if record.unclear[key] <= sent:
                record.cleared[key] = self._now
                del record.unclear[key]
        own = (each for each in record.suspects if each.credentials == self._report.credentials)
        newer = any(each.at > sent for each in own)
        if newer and verdict.phase is Phase.OPEN:
            return
        verdict.refused = False
        verdict.phase = Phase.SUSPECT if newer else Phase.PROVEN

    def _key(self, suspect: Suspect) -> str:
        return f"{self._report.credentials} {suspect.kind} {suspect.target}"

    def _own(self, known: dict[str, float]) -> list[str]:
        return [key for key in known if key.startswith(f"{self._report.credentials} ")]

    def _doubt(self) -> None:
        doubt = Refusal(at=self._now, credentials=self._report.credentials)
        self._record.doubts.append(doubt)

    def _open(self, until: float, *, refused: bool) -> None:
        self._verdict.phase = Phase.OPEN
        self._verdict.until = until
        self._verdict.refused = refused

    def _retry_at(self, seconds: float) -> float:
        turn = self._report.turn
        if turn is not None:
            # The other participants' refusals must be a minute old before one of them proves again.
            seconds = max(seconds, self._policy.window_seconds) + turn.seconds
        return self._now + seconds

    # Decisions on slots and proofs.

    def _quiet_until(self) -> float:
        """Return until when a participant that does not see all calls of others sends nothing."""
        turn = self._report.turn
        if turn is None:
            return 0.0
        # Without the refusals of renewed tokens, which have no credentials.
        newest = max((each.at for each in self._record.suspects if each.credentials), default=-inf)
        return max(self._now + turn.quiet_seconds, newest + self._policy.window_seconds)

    def _until(self, quiet_until: float, *, full: bool) -> float:
        verdict = self._verdict
        held_until = verdict.until if verdict.phase is Phase.OPEN else 0.0
        if quiet_until > self._now:
            return max(quiet_until, held_until)
        return self._room_again() if full else verdict.until

    @property
    def _counted(self) -> int:
        return len(self._record.suspects) + len(self._record.doubts)

    @property
    def _is_filled(self) -> bool:
        """True if there is no room, and no call is in flight that could clear doubts."""
        idle = not self._report.under_way and self._record.proof_slot is None
        return idle and self._counted >= self._room

    @property
    def _can_clear(self) -> bool:
        """True if an accepted proof of these credentials would make room for a call."""
        record, own = self._record, self._report.credentials
        foreign = sum(each.credentials != own for each in record.doubts)
        return len(record.suspects) + foreign < self._room

    @property
    def _concurrency(self) -> int:
        """The smallest concurrency of all participants, which limits the sum of their slots."""
        leases = self._record.leases.values()
        return min(self._report.concurrency, *(lease.concurrency for lease in leases), 10**6)

    @property
    def _room(self) -> int:
        """The limit of suspects, doubts and slots together, without the proof's slot."""
        return max(self._policy.most - 1, self._concurrency)

    def _others(self, credentials: str | None = None) -> int:
        """Count the slots of other participants, of all or of those with some credentials."""
        leases = self._record.leases.values()
        return sum(c.slots for c in leases if credentials in (None, c.credentials))

    def _needs_proof(self) -> bool:
        verdict, now = self._verdict, self._now
        old = now - verdict.accepted > self._policy.window_seconds
        if verdict.phase is Phase.PROVEN and old and not self._report.trusts:
            # Over a minute after the last accepted call, a new process sends its own proof.
            verdict.phase = Phase.UNPROVEN
        if verdict.phase is Phase.OPEN:
            return now >= verdict.until
        return verdict.phase is not Phase.PROVEN

    def _seek_proof(self) -> bool:
        """Grant the proof's slot if possible; return whether waiting for it makes sense."""
        record, report, verdict = self._record, self._report, self._verdict
        if not report.waiting or record.proof_slot is not None:
            return True
        if self._counted > self._room or len(record.suspects) >= self._policy.most:
            if verdict.phase is Phase.SUSPECT:
                self._open(self._room_again(), refused=False)
            return False
        if not report.under_way and not self._others(report.credentials):
            self._take_proof_slot(0)
        return True

    def _take_proof_slot(self, slots: int) -> None:
        record, report = self._record, self._report
        busy = max(slots, report.under_way) + self._others()
        room = 0 if report.turn else self._room - self._counted
        if record.proof_slot is None and busy <= room:
            record.proof_slot = ProofSlot(
                participant=report.participant,
                credentials=report.credentials,
                expires=self._now + LEASE_SECONDS,
            )

    def _renew_proof_slot(self) -> None:
        proof_slot = self._record.proof_slot
        if proof_slot is None or proof_slot.participant != self._report.participant:
            return
        if self._report.has_proof_slot:
            renewed = msgspec.structs.replace(proof_slot, expires=self._now + LEASE_SECONDS)
            self._record.proof_slot = renewed
        else:
            self._record.proof_slot = None

    def _slots(self) -> int:
        """Return the participant's fair share of the slots.

        If there are fewer slots than participants, they take turns. A participant with fewer slots
        than calls in flight starts none until enough have ended.
        """
        report, now = self._report, self._now
        others = [c for c in self._record.leases.values() if c.waiting or c.slots]
        starved = [c for c in others if c.waiting and not c.slots]
        since = self._lease.since if self._lease is not None else now
        had = self._lease.slots if self._lease is not None else 0
        if had and starved and now - since >= LEASE_SECONDS:
            return 0
        if not report.waiting:
            return report.under_way
        if report.turn and (self._record.proof_slot or report.wants_proof_slot):
            return 0
        free = min(self._room - self._counted, self._concurrency) - self._others()
        if not had:
            free -= sum(c.since < since for c in starved)
        share = max(1, -(-self._concurrency // (1 + len(others))))
        return max(0, min(free, share))

    def _keep_lease(self, slots: int) -> None:
        report, before, now = self._report, self._lease, self._now
        slots = max(slots, report.under_way)
        # A participant that waits for a proof does not wait for a slot.
        waiting = report.waiting and self._verdict.phase is Phase.PROVEN
        if not slots and not waiting:
            return
        same = before is not None and bool(before.slots) == bool(slots)
        self._record.leases[report.participant] = Lease(
            credentials=report.credentials,
            concurrency=report.concurrency,
            slots=slots,
            waiting=waiting,
            since=before.since if before is not None and same else now,
            expires=now + LEASE_SECONDS,
        )

    def _room_again(self) -> float:
        """Return when the oldest suspect or doubt expires."""
        times = [each.at for each in (*self._record.suspects, *self._record.doubts)]
        return min(times, default=self._now) + self._policy.window_seconds


def _prune(known: dict[str, float], now: float) -> dict[str, float]:
    """Delete all but the newest entries, and those not used within a day; return the rest."""
    kept = sorted(known, key=known.__getitem__)[-REMEMBERED:]
    for name in known.keys() - {each for each in kept if now - known[each] < REMEMBERED_SECONDS}:
        del known[name]
    return known
