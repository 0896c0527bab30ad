"""The keeper of a guard: reports to the ledger, gets slots, sends the proofs.

The keeper is a task that lives while calls are queued or in flight. It reports the outcomes of
calls to the ledger, renews slots or gives them back, and does what the ledger's answer allows.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from exporter.clock import Clock
from exporter.errors import BlockedError, CallError, Reason
from exporter.lockout import messages
from exporter.lockout.ledger import LEASE_SECONDS, Ledger
from exporter.lockout.record import Answer, Phase, Proved, Report, Suspect, Turn, digest
from exporter.lockout.suspicions import Suspicions, in_doubt, is_lost, is_refusal, resolve


if TYPE_CHECKING:
    from exporter.lockout.queue import CallQueue
    from exporter.lockout.suspicions import Confirmation


T = TypeVar("T")

#: Slots are renewed after 30 % of their lease.
RENEWAL_SECONDS = LEASE_SECONDS * 0.3

#: Pause before the keeper asks the ledger again while another participant holds the slots or sends
#: the proof.
ASK_AGAIN_SECONDS = 0.1

#: Turns of the event loop for which the keeper holds its slots after the last call: the next call
#: often follows at once.
_LINGER_TURNS = 5


class Participant(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a guard that its keeper needs.

    Attributes:
        concurrency: The most calls in flight at once, all priorities together.
        retry_seconds: Pause after a refused proof, at least a minute.
        proof: Sends the cheapest call; raises `SuspectError` when the reply looks like a refusal.
        fingerprint: Returns a hash of the current secret, empty while it cannot be read.
        turn: Returns this participant's turn while it does not see the calls of all others, else
            `None`.
        may_call: Returns whether this process may call now.
    """

    concurrency: int
    retry_seconds: float
    proof: Callable[[], Awaitable[None]]
    fingerprint: Callable[[], str]
    ledger: Ledger
    clock: Clock
    turn: Callable[[], Turn | None] = lambda: None
    may_call: Callable[[], bool] = lambda: True


class Keeper:
    """The link between one queue of calls and the ledger.

    Attributes:
        answer: The ledger's newest answer.
    """

    def __init__(self, participant: Participant, queue: CallQueue) -> None:
        self._participant = participant
        self._queue = queue
        self._clock = participant.clock
        self._ledger = participant.ledger
        self._fingerprint = participant.fingerprint
        self._log = structlog.get_logger("exporter.lockout")
        self._name = uuid.uuid4().hex
        # Not reported to the ledger yet.
        self._suspicions = Suspicions()
        self._passed: list[Suspect] = []
        self._doubts = 0
        self._refusals = 0
        self._accepted: float | None = None
        self._proved: Proved | None = None
        # The ledger's newest answer, the secret it is about, and when its slots expire.
        self.answer: Answer | None = None
        self._asked = ""
        self._slots_until = 0.0
        #: True if a call was queued at the newest report. Else the answer has no free slots.
        self._asked_for_more = False
        #: The state's clock minus the monotonic clock, or a little less.
        self._offset = 0.0
        self._proof_call: asyncio.Task[None] | None = None
        self._proof_sent = 0.0
        self._proof_secret = ""
        self._proof_lost = False
        #: The newest proof's error, until the calls that waited for the proof have failed.
        self._failure: Exception | None = None
        self._trusted = ""
        self._task: asyncio.Task[None] | None = None
        self._asking = False
        self._news = asyncio.Event()
        self._closed = False
        #: True if the newest step failed: of several failures in a row only the first is logged.
        self._crashed = False

    @property
    def now(self) -> float:
        """The time by the state's clock, estimated from the newest answer."""
        return self._clock.monotonic() + self._offset

    @property
    def is_stale(self) -> bool:
        """True if the secret has changed since the newest answer."""
        return self._fingerprint() not in ("", self._asked)

    @property
    def is_open(self) -> bool:
        """True while calls are blocked until a proof of the credentials is accepted."""
        return self.answer is not None and self.answer.phase is Phase.OPEN

    @property
    def answer_age_seconds(self) -> float:
        """Seconds since the newest answer was asked for."""
        return self._clock.monotonic() + LEASE_SECONDS - self._slots_until

    def suspect(self, kind: str, target: str) -> asyncio.Future[Exception | None]:
        """Note a reply that looks like a refusal.

        Returns:
            A future that resolves with the refusal, or with `None` if the credentials are accepted.
        """
        return self._suspicions.add(kind, target)

    def doubt(self, error: Exception | None, secret: str) -> None:
        """Count a failed call if the vendor may have refused it.

        Args:
            error: The call's error; `None` if its outcome is unknown.
            secret: The fingerprint that the call was sent with.
        """
        if error is not None and not in_doubt(error):
            return
        if secret == self._asked:
            self._doubts += 1
        else:
            # An accepted call with another secret does not clear this call, so it is no doubt.
            self.suspect("", "")

    def refused(self) -> None:
        """Count a refused call that says nothing about the credentials.

        The keeper reports the refusal with the next renewal or return of its slot.
        """
        self._refusals += 1

    def accepted(self, sent: float, secret: str, target: str) -> None:
        """Note an accepted call.

        Args:
            sent: When the call was sent, by the monotonic clock.
            secret: The fingerprint that the call was sent with.
            target: The target that the call was about.
        """
        at = sent + self._offset
        if self._accepted is not None and secret == self._trusted:
            at = max(self._accepted, at)
        self._trusted, self._accepted = secret, at
        if self.answer is not None and self.answer.cleared and secret == self._asked:
            mine = digest(target)
            self._passed += [each for each in self.answer.cleared if each.target == mine]

    async def confirm(
        self, kind: str, target: str, attempt: Callable[[], Awaitable[T]]
    ) -> T | None:
        """Run an attempt in the proof's slot, if the ledger does not know the error's kind yet.

        Returns:
            The attempt's result; `None` if the attempt was not run.
        """
        if self._closed:
            return None
        done = self._suspicions.confirm(kind, target, attempt)
        self.wake()
        return await done

    async def aclose(self) -> None:
        """Give the slots back when the calls in flight have ended."""
        self._closed = True
        while self._task is not None:
            self._news.set()
            await asyncio.wait([self._task])
        # The proof is a method of the client. Break that reference cycle: otherwise the client and
        # the data of its source stay until the next garbage collection.
        self._participant = msgspec.structs.replace(self._participant, proof=_closed)

    def pump(self) -> None:
        """Start queued calls while slots are free, and wake the keeper when it has work."""
        self._admit()
        if self._is_due:
            self.wake()

    def _admit(self) -> None:
        answer = self.answer
        # The cheapest checks first: most often no call is queued.
        if answer is None or self._asking or not self._queue.is_awaited:
            return
        if self._suspicions.news or self.is_stale:
            return
        if answer.phase is not Phase.PROVEN or self._clock.monotonic() >= self._slots_until:
            return
        if not self._participant.may_call():
            return
        admitted = self._queue.under_way + self._doubts < answer.slots and self._queue.admit()
        if admitted and self._queue.is_awaited:
            # Start one call in each turn of the event loop: if hundreds start in the same turn, the
            # measured latency of each contains the set-up of all others.
            asyncio.get_running_loop().call_soon(self._admit)

    @property
    def _has_news(self) -> bool:
        return bool(self._suspicions.news or self._doubts or self._proved is not None)

    @property
    def _has_work(self) -> bool:
        return bool(
            self._has_news
            or self._queue.is_awaited
            or self._queue.under_way
            or self._suspicions.waits
            or self._suspicions.confirmations
            or self._proof_call is not None
        )

    @property
    def _is_due(self) -> bool:
        """True if the keeper has to report now instead of at the next renewal."""
        answer = self.answer
        return (
            answer is None
            or self._has_news
            or not self._queue.under_way
            or (self._accepted is not None and bool(answer.doubts))
            or self._is_short(answer)
            or self._clock.monotonic() >= self._slots_until
            or self.is_stale
        )

    def _is_short(self, answer: Answer) -> bool:
        """Return whether a call waits for a slot that the keeper has not asked for yet."""
        taken = self._queue.under_way + self._doubts
        if self._asked_for_more or taken < answer.slots:
            return False
        return answer.slots < self._participant.concurrency and self._queue.is_awaited

    def wake(self) -> None:
        """Start the keeper, or let it report at once if it sleeps."""
        self._news.set()
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._keep(), name="lock-out guard")

    async def _keep(self) -> None:
        try:
            while True:
                self._news.clear()
                await self._ask()
                self._act()
                if self._closed:
                    # Do not wait for verdicts: another participant's proof may take long.
                    self._suspicions.abandon(messages.closed)
                for _ in range(_LINGER_TURNS):
                    await asyncio.sleep(0)
                if self._has_work:
                    await self._pause()
                elif self.answer is None or not self.answer.slots:
                    return
        except Exception:  # noqa: BLE001 - callers must not wait for a keeper that has ended
            if not self._crashed:
                self._log.exception("guard_crashed")
            self._crashed, self._failure = True, None
            self._give_up(
                lambda: BlockedError("the lock-out guard failed, see the log", retry_at=0)
            )
        finally:
            self._task = None

    async def _pause(self) -> None:
        """Wait for news, or until slots are to be renewed or asked for again."""
        if self._has_news or self.is_stale:
            return
        busy = self._queue.under_way or self._proof_call is not None
        seconds = RENEWAL_SECONDS if busy else ASK_AGAIN_SECONDS
        waits = {
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._news.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _ask(self) -> None:
        """Report to the ledger and take its answer."""
        # Unreported outcomes belong to the secret that the slots were granted for.
        secret = self._asked if self._has_news else self._fingerprint() or self._asked
        if self._proved is not None and self._proof_secret != self._asked:
            # A proof with the old secret decides nothing for calls that wait with the new one.
            await self._step(self._report(self._proof_secret, proof=self._proved))
            self._proved = self._failure = None
        if secret != self._asked:
            self._suspicions.abandon(messages.unclear)
        suspects = tuple(each.suspect for each in self._suspicions.news)
        doubts, refusals, proof = self._doubts, self._refusals, self._proved
        report = self._report(
            secret, suspects=suspects, doubts=doubts, refusals=refusals, proof=proof
        )
        asked = self._clock.monotonic()
        answer = await self._step(report)
        self.answer, self._asked = answer, secret
        self._asked_for_more = report.waiting
        self._slots_until = asked + LEASE_SECONDS
        self._offset = answer.now - self._clock.monotonic()
        # Only after the step: if it fails, the next report has to contain all of this again.
        self._suspicions.reported(len(suspects), answer)
        self._doubts -= doubts
        self._refusals -= refusals
        if proof is not None:
            self._proved = None
        if report.turn is None and self._participant.turn() is not None:
            # The store failed during this step, whose answer holds only for a shared ledger.
            await self._ask()

    def _report(
        self,
        secret: str,
        *,
        suspects: tuple[Suspect, ...] = (),
        doubts: int = 0,
        refusals: int = 0,
        proof: Proved | None = None,
    ) -> Report:
        turn = self._participant.turn()
        may_call = self._participant.may_call()
        accepted, self._accepted = self._accepted, None
        passed, self._passed = tuple(self._passed), []
        return Report(
            participant=self._name,
            credentials=secret,
            concurrency=self._participant.concurrency if turn is None else 1,
            # Calls that waited for a failed proof fail with it: they wait for no other proof.
            waiting=may_call
            and self._failure is None
            and (self._queue.is_awaited or self._suspicions.waits),
            under_way=self._queue.under_way,
            trusts=secret == self._trusted,
            accepted=accepted if secret == self._trusted else None,
            suspects=suspects,
            passed=passed,
            doubts=doubts,
            refusals=refusals,
            proof=proof,
            proof_sent=self._proof_sent,
            has_proof_slot=self._proof_call is not None,
            wants_proof_slot=may_call and bool(self._suspicions.confirmations),
            turn=turn,
        )

    async def _step(self, report: Report) -> Answer:
        self._asking = True
        try:
            answer = await self._ledger.step(report, retry_seconds=self._participant.retry_seconds)
        finally:
            self._asking = False
        self._crashed = False
        return answer

    def _act(self) -> None:
        """Do what the newest answer allows."""
        answer = self.answer
        if answer is None:
            return
        failure, self._failure = None if self.is_stale else self._failure, None
        if is_refusal(failure):
            self._give_up(messages.refused, lambda: self._held_back(Reason.AUTH))
        elif failure is not None:
            self._give_up(lambda: messages.unanswered(failure, now=self._clock.monotonic()))
        self._suspicions.settle(answer, self._verdict, closed=self._closed)
        if self.is_stale:
            return
        may_prove = self._clock.monotonic() < self._slots_until and self._participant.may_call()
        if answer.proof_slot and self._proof_call is None and may_prove:
            if answer.phase is not Phase.PROVEN:
                self._proof_call = asyncio.create_task(self._prove())
            elif self._suspicions.confirmations:
                confirmation = self._suspicions.confirmations.popleft()
                self._proof_call = asyncio.create_task(self._confirm(confirmation))
        if self.is_open and answer.now < answer.until:
            self._queue.refuse(self._held_back)
        elif answer.full:
            self._queue.refuse(self._no_room)
        else:
            self._admit()

    def _verdict(self, answer: Answer) -> Exception | None:
        match answer.phase:
            case Phase.PROVEN:
                return None
            case Phase.OPEN if answer.refused:
                return messages.refused()
            case Phase.OPEN:
                return self._held_back()
            case _:
                return messages.unclear()

    async def _confirm(self, confirmation: Confirmation) -> None:
        outcome: Any = None
        try:
            outcome = await confirmation.attempt()
        finally:
            self._proof_call = None
            resolve(confirmation.done, outcome)
            # Since Python 3.13 the frames of an error's traceback also refer to this frame.
            del confirmation, outcome
            self.wake()

    async def _prove(self) -> None:
        self._proof_sent = self._clock.monotonic() + self._offset
        self._proof_secret = secret = self._fingerprint() or self._asked
        failure: Exception | None = None
        try:
            await self._participant.proof()
        except asyncio.CancelledError:
            # The program ends. Not re-raised, because the proof still has to be reported.
            failure = CallError(Reason.CONNECT, "the proof was cancelled")
        except Exception as error:  # noqa: BLE001 - handed to the waiting callers
            failure = error
        self._proof_call = None
        lost_before, self._proof_lost = self._proof_lost, False
        if failure is None:
            self._proved, self._trusted = Proved.ACCEPTED, secret
        elif is_refusal(failure):
            self._proved, self._failure = Proved.REFUSED, failure
        else:
            self._proved = Proved.IN_DOUBT if in_doubt(failure) else Proved.UNASKED
            # A lost proof is sent again once, if the ledger has room for it.
            self._proof_lost = is_lost(failure) and not lost_before
            self._failure = None if self._proof_lost else failure
        # Break the reference cycle between the error and this frame in its traceback.
        del failure
        self.wake()

    def _give_up(
        self,
        verdict: Callable[[], Exception],
        unsent: Callable[[], Exception] | None = None,
    ) -> None:
        """Fail the suspects and the queued calls, each with a new error."""
        self._suspicions.abandon(verdict)
        self._suspicions.drop_confirmations()
        self._queue.refuse(unsent or verdict)

    def _held_back(self, reason: Reason = Reason.BLOCKED) -> BlockedError:
        answer = self.answer
        return messages.held_back(
            self._ledger.policy,
            refused=answer is not None and answer.refused,
            retry_at=self._retry_at,
            now=self._clock.monotonic(),
            reason=reason,
        )

    def _no_room(self) -> BlockedError:
        quiet = self.answer is not None and self.answer.quiet
        message = messages.unseen if quiet else messages.no_room
        return message(self._ledger.policy, retry_at=self._retry_at, now=self._clock.monotonic())

    @property
    def _retry_at(self) -> float:
        return self.answer.until - self._offset if self.answer is not None else 0.0


async def _closed() -> None:
    raise messages.closed()
