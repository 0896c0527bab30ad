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
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from exporter.errors import BlockedError, SuspectError
from exporter.lockout import messages
from exporter.lockout.keeper import Keeper, Participant
from exporter.lockout.queue import CallQueue, Priority
from exporter.lockout.record import Answer, Phase
from exporter.lockout.suspicions import is_lost, resolve


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


T = TypeVar("T")

#: While calls are held back, another participant may prove that the credentials are good again.
REFRESH_SECONDS = 5.0


class _Outcome(Generic[T]):
    """The end of an attempt, as a value, so that nobody has to fetch it after a cancellation."""

    def __init__(
        self,
        result: T | None = None,
        error: Exception | None = None,
        verdict: asyncio.Future[Exception | None] | None = None,
    ) -> None:
        self.result = result
        self.error = error
        #: `None` in it says that the credentials are accepted.
        self.verdict = verdict

    def get(self) -> T:
        error = self.error.own if isinstance(self.error, SuspectError) else self.error
        if error is None:
            return self.result  # type: ignore[return-value]  # None only if T allows it
        try:
            raise error
        finally:
            # Else the error and this frame, which is in its traceback, hold each other.
            del self, error


class Guard:
    """Lets calls out, or not."""

    def __init__(self, participant: Participant) -> None:
        """Prepare a guard that has its share of the ledger; nothing is sent yet."""
        self._queue = CallQueue(participant.concurrency)
        self._fingerprint = participant.fingerprint
        self._policy = participant.ledger.policy
        self._clock = participant.clock
        self._keeper = Keeper(participant, self._queue)
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    @property
    def open(self) -> bool:
        """True while calls are held back until the credentials are proven anew."""
        return self._keeper.is_open

    @property
    def auth_failed(self) -> bool:
        """True while it is open because the newest proof was refused."""
        answer = self._keeper.answer
        return self.open and answer is not None and answer.refused

    @property
    def refusals(self) -> int:
        """Possibly refused calls of the last minute, in sum over all who share the ledger."""
        answer = self._keeper.answer
        return 0 if answer is None else sum(map(len, self._counted(answer)))

    @property
    def blocked(self) -> bool:
        """True if a call would now fail without being sent."""
        answer = self._keeper.answer
        if answer is None or self._keeper.is_stale:
            return False
        blocked = self._is_blocked(answer)
        if blocked and self._keeper.answer_age_seconds >= REFRESH_SECONDS:
            self._keeper.wake()
        return blocked

    def _is_blocked(self, answer: Answer) -> bool:
        if self.open and self._keeper.now < answer.until:
            return True
        if answer.quiet and self._keeper.now < answer.until:
            return True
        suspects, doubts = self._counted(answer)
        if answer.phase is Phase.PROVEN:
            return len(suspects) >= answer.room
        return len(suspects) + len(doubts) > answer.room or len(suspects) >= self._policy.most

    def _counted(self, answer: Answer) -> tuple[list[float], list[float]]:
        since = self._keeper.now - self._policy.window_seconds
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
        if is_lost(outcome.error):
            # Without a slot for it, the first outcome stands.
            with suppress(BlockedError):
                outcome = await self._placed(attempt, target, priority)
        if outcome.verdict is not None and isinstance(outcome.error, SuspectError):
            refusal = await outcome.verdict
            if refusal is not None:
                raise refusal
            again = partial(self._attempted, attempt, target)
            outcome = await self._keeper.confirm(outcome.error.kind, target, again) or outcome
        try:
            return outcome.get()
        finally:
            del outcome  # as in `_Outcome.get`

    def refused(self) -> None:
        """Count a call that was refused for a token that the credentials can renew.

        It was made within an attempt that goes on with a new token. So it accuses nobody, but the
        vendor may count it.
        """
        self._keeper.refused()

    async def aclose(self) -> None:
        """Give the slots back when the calls under way have ended; no call comes afterwards."""
        self._closed = True
        self._queue.refuse(messages.closed)
        await self._keeper.aclose()

    async def _placed(
        self, attempt: Callable[[], Awaitable[T]], target: str, priority: Priority
    ) -> _Outcome[T]:
        if self._closed:
            raise messages.closed()
        place = self._queue.join(priority)
        self._keeper.pump()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:
                self._queue.leave(priority)
                self._keeper.pump()
            raise
        finally:
            del place  # as in `_Outcome.get`
        # A task of its own: what is on the wire cannot be taken back by a cancellation.
        ended: asyncio.Future[_Outcome[T]] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(attempt, target, priority, ended))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await ended

    async def _run(
        self,
        attempt: Callable[[], Awaitable[T]],
        target: str,
        priority: Priority,
        ended: asyncio.Future[_Outcome[T]],
    ) -> None:
        try:
            try:
                outcome = await self._attempted(attempt, target)
            finally:
                self._queue.leave(priority)
                self._keeper.pump()
        except BaseException:
            ended.cancel()
            raise
        resolve(ended, outcome)
        # Since Python 3.13 the frames of an error's traceback hold this one, too.
        del ended, outcome

    async def _attempted(self, attempt: Callable[[], Awaitable[T]], target: str) -> _Outcome[T]:
        """Run an attempt and note for the ledger what its end says of the credentials."""
        sent, secret = self._clock.monotonic(), self._fingerprint()
        try:
            result = await attempt()
        except SuspectError as error:
            # With another secret by now, the error proves nothing for that one.
            kind = error.kind if self._fingerprint() == secret else ""
            return _Outcome(error=error, verdict=self._keeper.suspect(kind, target))
        except Exception as error:  # noqa: BLE001 - handed to the caller
            self._keeper.doubt(error, secret)
            return _Outcome(error=error)
        except BaseException:
            self._keeper.doubt(None, secret)
            raise
        self._keeper.accepted(sent, secret, target)
        return _Outcome(result)
