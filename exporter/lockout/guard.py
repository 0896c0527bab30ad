"""Keep a source from locking itself out with credentials that are no longer accepted.

Real Load blocks an address after 5 invalid tokens within 60 seconds, for 15 to 30 minutes, and does
not document what a refusal looks like. So a reply that may be one is a *suspect*, and the guard,
through which all calls of a source go, finds out:

unproven   Nothing is known: one proof, the cheapest call, is sent alone; everybody else waits.
proven     Calls go out, as many at once as the source has slots.
suspect    A suspect came home: nothing more goes out. When the calls under way are home as well,
           one proof is sent. Accepted: the suspects were errors of those calls' own. Refused: the
           guard opens. No answer: unproven.
open       Nothing is sent until `auth_retry` has passed or the secret has changed; then unproven.

Only a proof decides, since a call that succeeds may have been answered before a revocation that
another call has met already.

The invariant: up to a concurrency of 3 there are never 5 refusals in any 60 seconds, all tasks of
the source and reloads included. It holds because every call that could be refused has room for
it: the suspects of the last minute, the calls under way and the call to be sent are 3 at most, and
the proof is the fourth. Three things follow.

* A suspect counts for its minute even if a proof was accepted afterwards: the token may have been
  invalid for a moment, or for one of several servers. So targets whose calls fail with errors that
  look like refusals slow the source down. Those that did so last time have the priority
  SUSPECT, which then waits for the others and leaves them room.
* A call that found no readable answer may have been refused as well, unless it ended with the
  status of a gateway in front of the API. It counts until a call sent later is accepted; when the
  room is used up by such calls, a proof is sent. A call that was lost on the way is sent once more,
  but only if there is room for it again.
* A cancelled call is not called back, since it can't be: its outcome is waited for in the
  background, and its slot stays taken.

With 4 slots the proof may have no room; the guard then opens without one. With more than 4, all of
them may be refused at once, and the invariant cannot hold.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from exporter.errors import BlockedError, CallError, PollError, Reason, SuspectError
from exporter.lockout.queue import CallQueue, Priority


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.clock import Clock
    from exporter.lockout.ledger import Ledger


T = TypeVar("T")

#: One second more than the vendor's, for clocks that differ.
WINDOW_SECONDS = 61.0

#: The vendor's 5 less one.
MAX_REFUSALS = 4


class _Outcome(Generic[T]):
    """The end of an attempt, as a value, so that nobody has to fetch it after a cancellation."""

    def __init__(self, result: T | None = None, error: Exception | None = None) -> None:
        self.result = result
        self.error = error
        #: `None` in it says that the credentials are accepted.
        self.verdict: asyncio.Future[Exception | None] | None = None

    async def get(self) -> T:
        if self.verdict is not None and isinstance(self.error, SuspectError):
            raise await self.verdict or self.error.own
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # None only if T allows it


class Guard:
    """Lets calls out, or not.

    Args:
        concurrency: Calls under way at once, all priorities together.
        auth_retry_seconds: How long it stays open; at least a minute.
        proof: Sends the cheapest call; raises `SuspectError` when it looks refused.
        fingerprint: Of the secret as it is now, empty while it cannot be read.
        on_change: Called when `open` or `auth_failed` changed.
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
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue = CallQueue(concurrency)
        # The proof needs room for itself.
        self._room = max(MAX_REFUSALS - 1, concurrency)
        self._proof_room = MAX_REFUSALS if concurrency < MAX_REFUSALS else concurrency + 1
        self._auth_retry_seconds = auth_retry_seconds
        self._proof = proof
        self._fingerprint = fingerprint
        self._ledger = ledger
        self._clock = clock
        self._on_change = on_change
        self._shown = (self.open, self.auth_failed)
        self._proven = False
        self._proving: asyncio.Task[None] | None = None
        self._verdicts: list[asyncio.Future[Exception | None]] = []
        self._tasks: set[asyncio.Task[object]] = set()
        ledger.guards.add(self)

    @property
    def open(self) -> bool:
        """Whether calls are held back until the credentials are proven anew."""
        return self._ledger.open_until is not None

    @property
    def auth_failed(self) -> bool:
        """Whether it is open because the credentials were refused, by the newest proof."""
        return self.open and self._ledger.refused

    @property
    def blocked(self) -> bool:
        """Whether a call would now fail without being sent."""
        self._forget()
        if self.open and not self._due():
            return True
        if self._proven:
            return len(self._ledger.suspects) >= self._room
        return not self._has_proof_room()

    async def call(
        self, attempt: Callable[[], Awaitable[T]], *, priority: Priority = Priority.NORMAL
    ) -> T:
        """Run an attempt when there is a slot for it and return what it returns.

        Raises:
            BlockedError: It was not run: the guard is open, the proof before it failed (the
                reason is the proof's then), or too many calls may have been refused. Or it was
                run and looks refused, but the proof that should tell got no answer.
            CallError: `auth`: it was run and refused.
            PollError: What the attempt raised; of a suspect that was none, its own error.
        """
        outcome = await self._placed(attempt, priority)
        if _is_lost(outcome.error):
            # Without a slot for it, the first outcome stands.
            with suppress(BlockedError):
                outcome = await self._placed(attempt, priority)
        return await outcome.get()

    async def _placed(self, attempt: Callable[[], Awaitable[T]], priority: Priority) -> _Outcome[T]:
        await self._place(priority)
        # A task of its own: what is on the wire cannot be taken back by a cancellation.
        task = asyncio.create_task(self._run(attempt, priority))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _place(self, priority: Priority) -> None:
        place = self._queue.join(priority)
        self.pump()
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self.pump()
            elif place.exception() is None:
                self._release(priority)
            raise

    async def _run(self, attempt: Callable[[], Awaitable[T]], priority: Priority) -> _Outcome[T]:
        sent = self._clock.monotonic()
        try:
            outcome = _Outcome(await attempt())
            self._ledger.accepted(sent)
        except SuspectError as error:
            outcome = _Outcome(error=error)
            outcome.verdict = self._suspect()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            outcome = _Outcome(error=error)
            self._note_unanswered(error)
        except BaseException:
            self._ledger.unanswered.append(self._clock.monotonic())
            raise
        finally:
            self._release(priority)
        return outcome

    def _suspect(self) -> asyncio.Future[Exception | None]:
        self._ledger.suspects.append(self._clock.monotonic())
        self._proven = False
        verdict = asyncio.get_running_loop().create_future()
        self._verdicts.append(verdict)
        return verdict

    def _note_unanswered(self, error: Exception) -> None:
        # An error that is not ours is a bug, which may have hidden any answer.
        if not isinstance(error, PollError) or (isinstance(error, CallError) and error.unread):
            self._ledger.unanswered.append(self._clock.monotonic())

    def _release(self, priority: Priority) -> None:
        self._queue.leave(priority)
        self._landed()

    def _landed(self) -> None:
        self._ledger.in_flight -= 1
        for guard in tuple(self._ledger.guards):
            guard.pump()

    # What follows decides; nothing in it waits.

    def pump(self) -> None:
        """Do whatever can be done now: let out, refuse, or prove."""
        if self._proving is not None:
            return
        self._forget()
        if self._verdicts:
            if not self._ledger.in_flight:
                self._judge()
            return
        while any(map(self._queue.is_awaited, Priority)):
            if self.open and not self._due():
                self._queue.refuse(self._held_back)
            elif self.open or not self._proven:
                self._prove_or_refuse()
                return
            elif not self._admit():
                return

    def _admit(self) -> bool:
        """Let one call out, or make those fail that have no room; return whether one could."""
        ledger = self._ledger
        suspects = len(ledger.suspects)
        if suspects >= self._room:
            self._queue.refuse(self._no_room)
            return True
        if suspects >= self._room - 1 and self._queue.is_awaited(Priority.SUSPECT):
            self._queue.refuse(self._no_room, Priority.SUSPECT)
            return True
        room = self._room - ledger.used - ledger.in_flight
        priority = self._queue.next(room=room, suspects=bool(suspects))
        if priority is not None:
            ledger.in_flight += 1
            self._queue.admit(priority)
            return True
        if ledger.unanswered and not ledger.in_flight:
            self._proven = False
            return True
        return False

    def _prove_or_refuse(self) -> None:
        if not self._has_proof_room():
            self._queue.refuse(self._no_room)
        elif not self._ledger.in_flight:
            self._prove()

    def _judge(self) -> None:
        if self._has_proof_room():
            self._prove()
            return
        self._open(refused=False, fingerprint=self._fingerprint())
        self._settle(self._held_back)
        self._queue.refuse(self._held_back)

    def _has_proof_room(self) -> bool:
        ledger = self._ledger
        return len(ledger.suspects) < MAX_REFUSALS and ledger.used < self._proof_room

    def _prove(self, *, again: bool = False) -> None:
        self._ledger.in_flight += 1
        self._proving = asyncio.create_task(self._run_proof(again=again))

    async def _run_proof(self, *, again: bool) -> None:
        sent, fingerprint = self._clock.monotonic(), self._fingerprint()
        failure: Exception | None = None
        try:
            await self._proof()
        except asyncio.CancelledError:
            # The end of the program; swallowed, since nothing comes after it but the decision.
            failure = CallError(Reason.CONNECT, "it was cancelled")
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            failure = error
        self._proving = None
        self._decide(failure, sent=sent, fingerprint=fingerprint, again=again)
        self._landed()

    def _decide(
        self, failure: Exception | None, *, sent: float, fingerprint: str, again: bool
    ) -> None:
        refusal = isinstance(failure, SuspectError) or (
            isinstance(failure, CallError) and failure.status in (401, 403)
        )
        if failure is None:
            self._ledger.accepted(sent)
            self._proven = True
            self._ledger.open_until = None
            self._ledger.refused = False
            self._changed()
            self._settle(lambda: None)
        elif refusal:
            self._ledger.suspects.append(self._clock.monotonic())
            self._open(refused=True, fingerprint=fingerprint)
            self._settle(_refused)
            self._queue.refuse(lambda: self._held_back(Reason.AUTH))
        else:
            # What was known of the credentials stands: a guard that was open stays so, and as its
            # time is over the next call proves again.
            self._note_unanswered(failure)
            if not again and _is_lost(failure) and self._has_proof_room():
                self._prove(again=True)
                return
            self._settle(lambda: self._unanswered(failure))
            self._queue.refuse(lambda: self._unanswered(failure))

    def _settle(self, verdict: Callable[[], Exception | None]) -> None:
        verdicts, self._verdicts = self._verdicts, []
        for waiting in verdicts:
            if not waiting.done():
                waiting.set_result(verdict())

    def _open(self, *, refused: bool, fingerprint: str) -> None:
        ledger = self._ledger
        self._proven = False
        ledger.open_until = self._clock.monotonic() + self._auth_retry_seconds
        ledger.refused = refused
        ledger.fingerprint = fingerprint
        self._changed()

    def _changed(self) -> None:
        shows = (self.open, self.auth_failed)
        if shows != self._shown:
            self._shown = shows
            self._on_change()

    def _due(self) -> bool:
        ledger = self._ledger
        if ledger.open_until is None or self._clock.monotonic() >= ledger.open_until:
            return True
        return self._fingerprint() not in ("", ledger.fingerprint)

    def _forget(self) -> None:
        self._ledger.forget_before(self._clock.monotonic() - WINDOW_SECONDS)

    # What those hear who were not let out; each gets an error of its own.

    def _held_back(self, reason: Reason = Reason.BLOCKED) -> BlockedError:
        why = "were refused" if self._ledger.refused else "may have been refused"
        retry_at = self._ledger.open_until or self._clock.monotonic()
        return BlockedError(
            f"nothing is sent for a while: the credentials {why}", retry_at=retry_at, reason=reason
        )

    def _no_room(self) -> BlockedError:
        ledger = self._ledger
        oldest = min([*ledger.suspects, *ledger.unanswered], default=self._clock.monotonic())
        return BlockedError(
            "nothing is sent for up to a minute: too many replies may have been refusals",
            retry_at=oldest + WINDOW_SECONDS,
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


def _is_lost(error: Exception | None) -> bool:
    return isinstance(error, CallError) and error.lost


def _refused() -> CallError:
    return CallError(Reason.AUTH, "the credentials were refused")
