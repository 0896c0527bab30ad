"""The keeper of a guard: reports to the ledger, gets slots, sends the proofs.

It is a task that lives while there is something to do. It reports to the ledger what came of the
calls, renews the slots for them or gives these back, and does what the ledger's answer allows.
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

#: Slots are renewed after this part of their time.
RENEWAL_SECONDS = LEASE_SECONDS * 0.3

#: While another participant has the slots or proves, the ledger is asked again after this long.
ASK_AGAIN_SECONDS = 0.1

#: Turns of the loop for which slots are kept when no call is left: the next one often follows.
_LINGER_TURNS = 5


class Participant(msgspec.Struct, frozen=True, kw_only=True):
    """A guard, as far as its keeper needs to know it.

    Attributes:
        concurrency: Calls under way at once, all priorities together.
        retry_seconds: How long nothing is sent after a refusal; at least a minute.
        proof: Sends the cheapest call; raises `SuspectError` when it looks refused.
        fingerprint: Returns a hash of the secret as it is now, empty while it cannot be read.
        turn: Returns what to heed while the ledger is not shared with all who call.
        may_call: Returns whether a slot may be used now.
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
    """Sees to the calls of one queue.

    Attributes:
        answer: The ledger's newest one.
    """

    def __init__(self, participant: Participant, queue: CallQueue) -> None:
        self._participant = participant
        self._queue = queue
        self._clock = participant.clock
        self._ledger = participant.ledger
        self._fingerprint = participant.fingerprint
        self._log = structlog.get_logger("exporter.lockout")
        self._name = uuid.uuid4().hex
        # News for the ledger.
        self._suspicions = Suspicions()
        self._passed: list[Suspect] = []
        self._doubts = 0
        self._refusals = 0
        self._accepted: float | None = None
        self._proved: Proved | None = None
        # Its newest answer, the secret it is about, and until when its slots are ours.
        self.answer: Answer | None = None
        self._asked = ""
        self._slots_until = 0.0
        #: Whether a call waited when it was asked for: else it holds no slots beyond those in use.
        self._asked_for_more = False
        #: The state's clock minus ours, or a little less.
        self._offset = 0.0
        # What is going on.
        self._proof_call: asyncio.Task[None] | None = None
        self._proof_sent = 0.0
        self._proof_secret = ""
        self._proof_lost = False
        #: Of the newest proof, until those who waited for it were told.
        self._failure: Exception | None = None
        self._trusted = ""
        self._task: asyncio.Task[None] | None = None
        self._asking = False
        self._news = asyncio.Event()
        self._closed = False
        #: Whether the newest step failed; said once.
        self._crashed = False

    @property
    def now(self) -> float:
        """Read the state's clock, as far as it is known."""
        return self._clock.monotonic() + self._offset

    @property
    def is_stale(self) -> bool:
        """True if the answer is about another secret than the one that is sent now."""
        return self._fingerprint() not in ("", self._asked)

    @property
    def is_open(self) -> bool:
        """True while calls are held back until the credentials are proven anew."""
        return self.answer is not None and self.answer.phase is Phase.OPEN

    @property
    def answer_age_seconds(self) -> float:
        """The age of the newest answer."""
        return self._clock.monotonic() + LEASE_SECONDS - self._slots_until

    def suspect(self, kind: str, target: str) -> asyncio.Future[Exception | None]:
        """Note a reply that looks like a refusal, and return its verdict when there is one."""
        return self._suspicions.add(kind, target)

    def doubt(self, error: Exception | None, secret: str) -> None:
        """Note how a call ended; `None`: nobody knows. It may have been refused all the same."""
        if error is not None and not in_doubt(error):
            return
        if secret == self._asked:
            self._doubts += 1
        else:
            # That another secret is accepted says nothing of this call.
            self.suspect("", "")

    def refused(self) -> None:
        """Note a refused call that says nothing of the credentials.

        It is no news to wake up for: the slot that it was made in is to be renewed or given back.
        """
        self._refusals += 1

    def accepted(self, sent: float, secret: str, target: str) -> None:
        """Note that a call of a target that was sent then, with that secret, was accepted."""
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
        """Run an attempt in the proof's slot, if an error is of a kind that is new.

        Returns:
            What the attempt returned; `None` if it was not run.
        """
        if self._closed:
            return None
        done = self._suspicions.confirm(kind, target, attempt)
        self.wake()
        return await done

    async def aclose(self) -> None:
        """Give the slots back when the calls under way have ended."""
        self._closed = True
        while self._task is not None:
            self._news.set()
            await asyncio.wait([self._task])
        # It is its client's, which this closes a cycle with: the client, with all that its source
        # knew, would stay until the garbage collector comes.
        self._participant = msgspec.structs.replace(self._participant, proof=_closed)

    def pump(self) -> None:
        """Let calls out as far as the slots reach, and have the keeper see to the rest."""
        self._admit()
        if self._is_due:
            self.wake()

    def _admit(self) -> None:
        answer = self.answer
        # First what costs nothing: most often no call waits.
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
            # One in each turn of the loop: when hundreds begin in the same turn, the measured
            # latency of each contains the set-up of all others.
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
        """True if the ledger has to be asked now, before the slots are renewed."""
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
        """Return whether a call waits for a slot that the ledger was not asked for yet."""
        taken = self._queue.under_way + self._doubts
        if self._asked_for_more or taken < answer.slots:
            return False
        return answer.slots < self._participant.concurrency and self._queue.is_awaited

    def wake(self) -> None:
        """Have the ledger asked now."""
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
                    # A verdict may take as long as another's proof.
                    self._suspicions.abandon(messages.closed)
                for _ in range(_LINGER_TURNS):
                    await asyncio.sleep(0)
                if self._has_work:
                    await self._pause()
                elif self.answer is None or not self.answer.slots:
                    return
        except Exception:  # noqa: BLE001 - nobody may wait for a keeper that has gone
            if not self._crashed:
                self._log.exception("guard_crashed")
            self._crashed, self._failure = True, None
            self._give_up(
                lambda: BlockedError("the lock-out guard failed, see the log", retry_at=0)
            )
        finally:
            self._task = None

    async def _pause(self) -> None:
        """Wait for news, for the time to renew the slots, or to ask again for some."""
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
        # What has happened belongs to the secret that the slots were given for.
        secret = self._asked if self._has_news else self._fingerprint() or self._asked
        if self._proved is not None and self._proof_secret != self._asked:
            # It says nothing to those who wait for the new secret's.
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
        # Not before: what the ledger did not get has to reach it yet.
        self._suspicions.reported(len(suspects), answer)
        self._doubts -= doubts
        self._refusals -= refusals
        if proof is not None:
            self._proved = None
        if report.turn is None and self._participant.turn() is not None:
            # The store went in this step, so what it allows holds for a shared ledger only.
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
            # Those who waited for a proof that failed do not wait for another one.
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
            # Since Python 3.13 the frames of an error's traceback hold this one, too.
            del confirmation, outcome
            self.wake()

    async def _prove(self) -> None:
        self._proof_sent = self._clock.monotonic() + self._offset
        self._proof_secret = secret = self._fingerprint() or self._asked
        failure: Exception | None = None
        try:
            await self._participant.proof()
        except asyncio.CancelledError:
            # The end of the program; swallowed, since nothing comes after it but the decision.
            failure = CallError(Reason.CONNECT, "it was cancelled")
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            failure = error
        self._proof_call = None
        lost_before, self._proof_lost = self._proof_lost, False
        if failure is None:
            self._proved, self._trusted = Proved.ACCEPTED, secret
        elif is_refusal(failure):
            self._proved, self._failure = Proved.REFUSED, failure
        else:
            self._proved = Proved.IN_DOUBT if in_doubt(failure) else Proved.UNASKED
            # One that was lost is sent once more, if the ledger has room for it.
            self._proof_lost = is_lost(failure) and not lost_before
            self._failure = None if self._proof_lost else failure
        # Else the error and this frame, which is in its traceback, hold each other.
        del failure
        self.wake()

    def _give_up(
        self,
        verdict: Callable[[], Exception],
        unsent: Callable[[], Exception] | None = None,
    ) -> None:
        """Fail the suspects and the calls that wait, each with an error of its own."""
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
