"""The lock-out guard of a source: it sends no call that could get the address blocked.

Real Load blocks an address after 5 invalid tokens within 60 seconds, and does not document what a
refusal looks like. So a reply that may be one is a *suspect*, and the guard, through which all
calls of a source go, finds out by the cheapest call, the proof. What it knows and how many calls it
may have under way stand in the ledger, which it shares with every process that polls the same
origin; see there for the rules.

The guard has a keeper, a task that lives while there is something to do: it reports to the ledger
what came of the calls, gets slots for them, renews these, and sends the proofs.

* A call that was lost on the way is sent once more, if there is a slot for it.
* A cancelled call is not called back, since it can't be: its outcome is waited for in the
  background, and its slot stays taken.
* When a proof has cleared a suspect of a kind that is new, the same target is asked once more: the
  same error again is no refusal, and from then on no target's error of that kind is a suspect.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import structlog

from exporter.errors import BlockedError, CallError, PollError, Reason, SuspectError
from exporter.lockout.ledger import LEASE_SECONDS, Answer, Phase, Proved, Report, Suspect, digest
from exporter.lockout.queue import CallQueue, Priority


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.lockout.ledger import Ledger


T = TypeVar("T")

#: Slots are renewed so long before they would end.
RENEWAL_SECONDS = LEASE_SECONDS * 0.3

#: While another member has the slots or proves, the ledger is asked again after this long.
ASK_AGAIN_SECONDS = 0.1

#: While calls are held back, another member may prove that the credentials are good again.
REFRESH_SECONDS = 5.0

#: Turns of the loop for which slots are kept when no call is left: the next one often follows.
_LINGER_TURNS = 5

_DIGITS = re.compile(r"\d+")


class _Outcome(Generic[T]):
    """The end of an attempt, as a value, so that nobody has to fetch it after a cancellation."""

    def __init__(self, result: T | None = None, error: Exception | None = None) -> None:
        self.result = result
        self.error = error
        #: `None` in it says that the credentials are accepted.
        self.verdict: asyncio.Future[Exception | None] | None = None

    def get(self) -> T:
        if self.error is not None:
            raise self.error.own if isinstance(self.error, SuspectError) else self.error
        return self.result  # type: ignore[return-value]  # None only if T allows it


class _Undecided(msgspec.Struct, kw_only=True):
    """A suspect that waits for a verdict.

    Attributes:
        proofs: How many had been decided when the ledger learnt of the suspect.
    """

    suspect: Suspect
    verdict: asyncio.Future[Exception | None]
    proofs: int = 0


class _Confirmation(msgspec.Struct, kw_only=True):
    """A target that is to be asked once more; `done` resolves with the outcome, if it was."""

    suspect: Suspect
    target: str
    attempt: Callable[[], Awaitable[Any]]
    done: asyncio.Future[Any]


class Guard:
    """Lets calls out, or not.

    Args:
        concurrency: Calls under way at once, all priorities together.
        auth_retry_seconds: How long nothing is sent after a refusal; at least a minute.
        proof: Sends the cheapest call; raises `SuspectError` when it looks refused.
        fingerprint: Of the secret as it is now, empty while it cannot be read.
        turn_seconds: `None` while the ledger is shared with all shards, else how long after a
            minute this shard's turn to prove comes.
    """

    def __init__(  # noqa: PLR0913 - all by keyword, none of them optional at heart
        self,
        *,
        concurrency: int,
        auth_retry_seconds: float,
        proof: Callable[[], Awaitable[None]],
        fingerprint: Callable[[], str],
        ledger: Ledger,
        clock: Clock,
        turn_seconds: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._queue = CallQueue(concurrency)
        self._concurrency = concurrency
        self._auth_retry_seconds = auth_retry_seconds
        self._proof = proof
        self._fingerprint = fingerprint
        self._ledger = ledger
        self._clock = clock
        self._turn_seconds = turn_seconds
        self._log = structlog.get_logger("exporter.lockout")
        self._member = uuid.uuid4().hex
        # News for the ledger.
        self._suspects: list[_Undecided] = []
        self._doubts = 0
        self._accepted: float | None = None
        self._proved: Proved | None = None
        # Its newest answer, the secret it is about, and until when its slots are ours.
        self._answer: Answer | None = None
        self._asked = ""
        self._slots_until = 0.0
        #: The state's clock minus ours, or a little less.
        self._offset = 0.0
        # What is going on.
        self._undecided: list[_Undecided] = []
        self._confirmations: deque[_Confirmation] = deque()
        self._fourth: asyncio.Task[None] | None = None
        self._proof_sent = 0.0
        self._proof_lost = False
        #: Of the newest proof, until those who waited for it were told.
        self._failure: Exception | None = None
        self._trusted = ""
        self._tasks: set[asyncio.Task[object]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._asking = False
        self._news = asyncio.Event()
        self._closed = False

    @property
    def open(self) -> bool:
        """Whether calls are held back until the credentials are proven anew."""
        return self._answer is not None and self._answer.phase is Phase.OPEN

    @property
    def auth_failed(self) -> bool:
        """Whether it is open because the credentials were refused, by the newest proof."""
        return self.open and self._answer is not None and self._answer.refused

    @property
    def refusals(self) -> int:
        """Possibly refused calls of the last minute, in sum over all who share the ledger."""
        return 0 if self._answer is None else sum(map(len, self._counted(self._answer)))

    @property
    def blocked(self) -> bool:
        """Whether a call would now fail without being sent."""
        answer = self._answer
        if answer is None or self._fingerprint() not in ("", self._asked):
            return False
        blocked = self._is_blocked(answer)
        if blocked and self._clock.monotonic() - self._slots_until >= REFRESH_SECONDS:
            self._wake()
        return blocked

    def _is_blocked(self, answer: Answer) -> bool:
        if self.open and self._clock.monotonic() + self._offset < answer.until:
            return True
        suspects, doubts = self._counted(answer)
        if answer.phase is Phase.PROVEN:
            return len(suspects) >= answer.room
        most = self._ledger.policy.most
        return len(suspects) + len(doubts) > answer.room or len(suspects) >= most

    def _counted(self, answer: Answer) -> tuple[list[float], list[float]]:
        since = self._clock.monotonic() + self._offset - self._ledger.policy.window_seconds
        return (
            [at for at in answer.suspects if at > since],
            [at for at in answer.doubts if at > since],
        )

    async def call(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        target: str = "",
        priority: Priority = Priority.NORMAL,
    ) -> T:
        """Run an attempt when there is a slot for it and return what it returns.

        Args:
            attempt: Sends the call; run once more if it was lost, or to confirm that its error is
                no refusal.
            target: Tells the calls apart that may fail each for a reason of its own.
            priority: Where to queue.

        Raises:
            BlockedError: It was not run: the guard is open, the proof before it failed (the
                reason is the proof's then), or too many calls may have been refused. Or it was
                run and looks refused, but the proof that should tell got no answer.
            CallError: `auth`: it was run and refused.
            PollError: What the attempt raised; of a suspect that was none, its own error.
        """
        outcome = await self._placed(attempt, target, priority)
        if _is_lost(outcome.error):
            # Without a slot for it, the first outcome stands.
            with suppress(BlockedError):
                outcome = await self._placed(attempt, target, priority)
        if outcome.verdict is not None and isinstance(outcome.error, SuspectError):
            refusal = await outcome.verdict
            if refusal is not None:
                raise refusal
            outcome = await self._confirmed(attempt, outcome.error, target) or outcome
        return outcome.get()

    async def aclose(self) -> None:
        """Give the slots back when the calls under way have ended; no call comes afterwards."""
        self._closed = True
        self._queue.refuse(_closed)
        while self._keeper is not None:
            self._news.set()
            await asyncio.wait([self._keeper])

    async def _placed(
        self, attempt: Callable[[], Awaitable[T]], target: str, priority: Priority
    ) -> _Outcome[T]:
        if self._closed:
            raise _closed()
        place = self._queue.join(priority)
        self._pump()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:
                self._queue.leave(priority)
                self._pump()
            raise
        # A task of its own: what is on the wire cannot be taken back by a cancellation.
        task = asyncio.create_task(self._run(attempt, target, priority))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _run(
        self, attempt: Callable[[], Awaitable[T]], target: str, priority: Priority
    ) -> _Outcome[T]:
        try:
            return await self._attempted(attempt, target)
        finally:
            self._queue.leave(priority)
            self._pump()

    async def _attempted(self, attempt: Callable[[], Awaitable[T]], target: str) -> _Outcome[T]:
        """Run an attempt and note for the ledger what its end says of the credentials."""
        sent, secret = self._clock.monotonic(), self._fingerprint()
        try:
            result = await attempt()
        except SuspectError as error:
            outcome: _Outcome[T] = _Outcome(error=error)
            outcome.verdict = asyncio.get_running_loop().create_future()
            # With another secret by now, the error proves nothing for that one.
            kind = error.kind if self._fingerprint() == secret else ""
            suspect = _suspect(kind, target)
            self._suspects.append(_Undecided(suspect=suspect, verdict=outcome.verdict))
            return outcome
        except Exception as error:  # noqa: BLE001 - handed to the caller
            self._doubts += _in_doubt(error)
            return _Outcome(error=error)
        except BaseException:
            self._doubts += 1
            raise
        self._trusted = secret
        if secret == self._asked:
            at = sent + self._offset
            self._accepted = at if self._accepted is None else max(self._accepted, at)
        return _Outcome(result)

    async def _confirmed(
        self, attempt: Callable[[], Awaitable[T]], error: SuspectError, target: str
    ) -> _Outcome[T] | None:
        """Ask a target once more, if its error is of a kind that is new and there is room."""
        if self._closed:
            return None
        suspect = _suspect(error.kind, target)
        done: asyncio.Future[_Outcome[T] | None] = asyncio.get_running_loop().create_future()
        self._confirmations.append(
            _Confirmation(suspect=suspect, target=target, attempt=attempt, done=done)
        )
        self._wake()
        return await done

    # The keeper: what follows reports to the ledger and does what its answers allow.

    def _pump(self) -> None:
        """Let calls out as far as the slots reach, and have the keeper see to the rest."""
        self._admit()
        if self._is_due:
            self._wake()

    def _admit(self) -> None:
        answer = self._answer
        if answer is None or self._asking or self._suspects or self._is_stale:
            return
        if answer.phase is not Phase.PROVEN or self._clock.monotonic() >= self._slots_until:
            return
        if self._queue.under_way + self._doubts < answer.slots and self._queue.admit():
            # One in each turn of the loop: when hundreds begin in the same turn, the measured
            # latency of each contains the set-up of all others.
            asyncio.get_running_loop().call_soon(self._admit)

    @property
    def _is_stale(self) -> bool:
        """Whether the answer is about another secret than the one that is sent now."""
        return self._fingerprint() not in ("", self._asked)

    @property
    def _has_news(self) -> bool:
        return bool(self._suspects or self._doubts or self._proved is not None)

    @property
    def _has_work(self) -> bool:
        return bool(
            self._has_news
            or self._queue.is_awaited
            or self._queue.under_way
            or self._undecided
            or self._confirmations
            or self._fourth is not None
        )

    @property
    def _is_due(self) -> bool:
        """Whether the ledger has to be asked now, before the slots are renewed."""
        answer = self._answer
        return (
            answer is None
            or self._has_news
            or not self._has_work
            or not self._queue.under_way
            or self._is_stale
            or (self._accepted is not None and bool(answer.doubts))
            or self._clock.monotonic() >= self._slots_until
        )

    def _wake(self) -> None:
        self._news.set()
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep(), name="lock-out guard")

    async def _keep(self) -> None:
        try:
            while True:
                self._news.clear()
                await self._ask()
                self._act()
                for _ in range(_LINGER_TURNS):
                    await asyncio.sleep(0)
                if self._has_work:
                    await self._pause()
                elif self._answer is None or not self._answer.slots:
                    return
        except Exception:  # noqa: BLE001 - nobody may wait for a keeper that has gone
            self._log.exception("guard_crashed")
            self._give_up(
                lambda: BlockedError("the lock-out guard failed, see the log", retry_at=0)
            )
        finally:
            self._keeper = None

    async def _pause(self) -> None:
        """Wait for news, for the time to renew the slots, or to ask again for some."""
        if self._has_news or self._is_stale:
            return
        busy = self._queue.under_way or self._fourth is not None
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
        turn_seconds = self._turn_seconds()
        suspects, self._suspects = self._suspects, []
        report = Report(
            member=self._member,
            credentials=secret,
            concurrency=self._concurrency if turn_seconds is None else 1,
            # Those who waited for a proof that failed do not wait for another one.
            waiting=self._failure is None
            and (self._queue.is_awaited or bool(self._undecided or suspects)),
            under_way=self._queue.under_way,
            trusts=secret == self._trusted,
            accepted=self._accepted,
            suspects=tuple(each.suspect for each in suspects),
            doubts=self._doubts,
            proof=self._proved,
            proof_sent=self._proof_sent,
            has_fourth=self._fourth is not None,
            wants_fourth=bool(self._confirmations),
            turn_seconds=turn_seconds,
        )
        self._doubts, self._accepted, self._proved = 0, None, None
        asked = self._clock.monotonic()
        self._asking = True
        try:
            answer = await self._ledger.step(report, retry_seconds=self._auth_retry_seconds)
        finally:
            self._asking = False
        self._answer, self._asked = answer, secret
        self._slots_until = asked + LEASE_SECONDS
        self._offset = answer.now - self._clock.monotonic()
        for each in suspects:
            each.proofs = answer.proofs
        self._undecided += suspects

    def _act(self) -> None:
        """Do what the newest answer allows."""
        answer = self._answer
        if answer is None:
            return
        failure, self._failure = self._failure, None
        if failure is not None and answer.refused:
            self._give_up(_refused, lambda: self._held_back(Reason.AUTH))
        elif failure is not None:
            self._give_up(lambda: self._unanswered(failure))
        self._settle(answer)
        if self._is_stale:
            return
        if answer.fourth and self._fourth is None:
            if answer.phase is not Phase.PROVEN:
                self._fourth = asyncio.create_task(self._prove())
            elif self._confirmations:
                self._fourth = asyncio.create_task(self._confirm(self._confirmations.popleft()))
        if self.open and answer.now < answer.until:
            self._queue.refuse(self._held_back)
        elif answer.full:
            self._queue.refuse(self._no_room)
        else:
            self._admit()

    def _settle(self, answer: Answer) -> None:
        """Tell the suspects apart as far as the answer decides about them."""
        undecided, self._undecided = self._undecided, []
        for each in undecided:
            verdict: Exception | None = None
            if each.suspect.kind not in answer.harmless:
                if answer.proofs == each.proofs and not self.open:
                    self._undecided.append(each)
                    continue
                verdict = self._verdict(answer)
            _resolve(each.verdict, verdict)
        no_room = len(answer.suspects) + len(answer.doubts) > answer.room
        confirmations, self._confirmations = self._confirmations, deque()
        for waiting in confirmations:
            known = waiting.suspect.kind in answer.harmless
            if known or no_room or answer.phase is not Phase.PROVEN or self._closed:
                _resolve(waiting.done, None)
            else:
                self._confirmations.append(waiting)

    def _verdict(self, answer: Answer) -> Exception | None:
        match answer.phase:
            case Phase.PROVEN:
                return None
            case Phase.OPEN if answer.refused:
                return _refused()
            case Phase.OPEN:
                return self._held_back()
            case _:
                return BlockedError("the credentials could not be checked", retry_at=0)

    async def _confirm(self, confirmation: _Confirmation) -> None:
        outcome: _Outcome[object] | None = None
        try:
            outcome = await self._attempted(confirmation.attempt, confirmation.target)
        finally:
            self._fourth = None
            _resolve(confirmation.done, outcome)
            self._wake()

    async def _prove(self) -> None:
        self._proof_sent, secret = self._clock.monotonic() + self._offset, self._asked
        failure: Exception | None = None
        try:
            await self._proof()
        except asyncio.CancelledError:
            # The end of the program; swallowed, since nothing comes after it but the decision.
            failure = CallError(Reason.CONNECT, "it was cancelled")
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            failure = error
        self._fourth = None
        lost_before, self._proof_lost = self._proof_lost, False
        if failure is None:
            self._proved, self._trusted = Proved.ACCEPTED, secret
        elif isinstance(failure, SuspectError) or getattr(failure, "status", 0) in (401, 403):
            self._proved = Proved.REFUSED
            self._failure = failure
        else:
            self._proved = Proved.IN_DOUBT if _in_doubt(failure) else Proved.UNASKED
            if _is_lost(failure) and not lost_before:
                # It is sent once more, if the ledger has room for it.
                self._proof_lost = True
            else:
                self._failure = failure
        self._wake()

    def _give_up(
        self,
        verdict: Callable[[], Exception],
        unsent: Callable[[], Exception] | None = None,
    ) -> None:
        """Fail the suspects and the calls that wait, each with an error of its own."""
        undecided, self._undecided = self._undecided, []
        for each in undecided:
            _resolve(each.verdict, verdict())
        while self._confirmations:
            _resolve(self._confirmations.popleft().done, None)
        self._queue.refuse(unsent or verdict)

    # What those hear who were not let out; each gets an error of its own.

    def _held_back(self, reason: Reason = Reason.BLOCKED) -> BlockedError:
        answer = self._answer
        refused = answer is not None and answer.refused
        return BlockedError(
            f"nothing is sent for a while: the credentials {'were' if refused else 'may have been'}"
            f" refused, {self._ledger.policy.explanation}",
            retry_at=(answer.until if answer is not None else 0.0) - self._offset,
            reason=reason,
        )

    def _no_room(self) -> BlockedError:
        until = self._answer.until if self._answer is not None else 0.0
        return BlockedError(
            "nothing is sent for up to a minute: too many replies may have been refusals,"
            f" {self._ledger.policy.explanation}",
            retry_at=until - self._offset,
        )

    def _unanswered(self, failure: Exception) -> Exception:
        if not isinstance(failure, PollError):
            return failure
        retry_at = self._clock.monotonic()
        if isinstance(failure, BlockedError):
            retry_at = failure.retry_at
        return BlockedError(
            f"the credentials could not be checked: {failure}",
            retry_at=retry_at,
            reason=failure.reason,
        )


def _suspect(kind: str, target: str) -> Suspect:
    """Return what the ledger may know of a suspect: digests, since texts are the vendor's."""
    return Suspect(kind=kind and digest(_DIGITS.sub("", kind)), target=digest(target))


def _in_doubt(error: Exception) -> bool:
    """Return whether a call may have been refused although its end does not say so."""
    # An error that is not ours is a bug, which may have hidden any answer.
    return not isinstance(error, PollError) or (isinstance(error, CallError) and error.unread)


def _is_lost(error: Exception | None) -> bool:
    return isinstance(error, CallError) and error.lost


def _refused() -> CallError:
    return CallError(Reason.AUTH, "the credentials were refused")


def _closed() -> CallError:
    return CallError(Reason.CONNECT, "the source was closed", sent=False)


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
