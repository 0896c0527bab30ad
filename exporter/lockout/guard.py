"""The lock-out guard of a source: it sends no call that could get the address blocked.

Real Load blocks an address after 5 invalid tokens within 60 seconds, and does not document how it
answers a call with an invalid token. So a reply that may be a refusal is a *suspect*. All calls of
a source go through the guard, which checks a suspect by a *proof*, the vendor's cheapest call: if
the vendor accepts the proof, the credentials are good. The ledger holds the state of the
credentials and the number of calls that may be in flight. Every process that polls the same origin
shares that ledger; `ledger.py` has the rules.

The guard has a keeper, a task that lives while calls are queued or in flight. The keeper reports
the outcomes of calls to the ledger, gets and renews the slots, and sends the proofs.

* The guard sends a call a second time if its connection was lost and the queue grants a slot again.
* A cancelled call that is on the wire runs to its end in the background and keeps its slot.
* When a proof has cleared a suspect with an unknown error, the guard polls the same target again.
  If the same error comes back, it is not a refusal, and no target's error of that kind is a suspect
  from then on.
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

#: Age of the ledger's answer after which a blocked guard asks again: another participant may have
#: proven in the meantime that the credentials are good.
REFRESH_SECONDS = 5.0


class _Outcome(Generic[T]):
    """The outcome of an attempt: its result or its error.

    An error is a value here, because asyncio would log an exception that no caller retrieves after
    a cancellation.
    """

    def __init__(
        self,
        result: T | None = None,
        error: Exception | None = None,
        verdict: asyncio.Future[Exception | None] | None = None,
    ) -> None:
        self.result = result
        self.error = error
        #: Resolves with `None` if the credentials are accepted.
        self.verdict = verdict

    def get(self) -> T:
        error = self.error.own if isinstance(self.error, SuspectError) else self.error
        if error is None:
            return self.result  # type: ignore[return-value]  # None only if T allows it
        try:
            raise error
        finally:
            # Break the reference cycle between the error and this frame in its traceback.
            del self, error


class Guard:
    """The gate of a source's calls: sends a call, or fails it unsent while calls are blocked."""

    def __init__(self, participant: Participant) -> None:
        """Prepare a guard; it sends nothing before the first call."""
        self._queue = CallQueue(participant.concurrency)
        self._fingerprint = participant.fingerprint
        self._policy = participant.ledger.policy
        self._clock = participant.clock
        self._keeper = Keeper(participant, self._queue)
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    @property
    def open(self) -> bool:
        """True while calls are blocked until a proof of the credentials is accepted."""
        return self._keeper.is_open

    @property
    def auth_failed(self) -> bool:
        """True while the guard is open because the vendor refused the newest proof."""
        answer = self._keeper.answer
        return self.open and answer is not None and answer.refused

    @property
    def refusals(self) -> int:
        """Possibly refused calls of the last minute, summed over all processes of the ledger."""
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
        """Run an attempt as soon as a slot is free.

        Args:
            attempt: Sends the call. The guard runs it a second time if the connection was lost, or
                to confirm that its error is not a refusal.
            target: The target that the call is about. The guard judges each target's errors
                separately.
            priority: The priority in the queue.

        Returns:
            The attempt's result.

        Raises:
            BlockedError: The call was not sent: the guard is open, the proof before the call failed
                (the error then has the proof's reason), or too many calls may have been refused.
                Or the call was sent and looks refused, but the proof got no answer.
            CallError: With the reason `auth`: the call was sent and refused.
            PollError: The attempt's own error, also for a suspect that was not a refusal.
        """
        outcome = await self._queued(attempt, target, priority)
        if is_lost(outcome.error):
            # If the guard grants no slot for the second attempt, the first outcome stands.
            with suppress(BlockedError):
                outcome = await self._queued(attempt, target, priority)
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

        The attempt continues with a new token, so the call is no suspect. But the vendor may count
        the refusal.
        """
        self._keeper.refused()

    async def aclose(self) -> None:
        """Refuse further calls, wait for those in flight, and give the slots back."""
        self._closed = True
        self._queue.refuse(messages.closed)
        await self._keeper.aclose()

    async def _queued(
        self, attempt: Callable[[], Awaitable[T]], target: str, priority: Priority
    ) -> _Outcome[T]:
        if self._closed:
            raise messages.closed()
        slot = self._queue.join(priority)
        self._keeper.pump()
        try:
            await slot
        except asyncio.CancelledError:
            if not slot.cancelled() and slot.exception() is None:
                self._queue.leave(priority)
                self._keeper.pump()
            raise
        finally:
            del slot  # as in `_Outcome.get`
        # A separate task, because a cancellation cannot take back a call that is on the wire.
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
        # Since Python 3.13 the frames of an error's traceback also refer to this frame.
        del ended, outcome

    async def _attempted(self, attempt: Callable[[], Awaitable[T]], target: str) -> _Outcome[T]:
        """Run an attempt and note whether its end says that the credentials are accepted."""
        sent, secret = self._clock.monotonic(), self._fingerprint()
        try:
            result = await attempt()
        except SuspectError as error:
            # If the secret has changed since, the error says nothing about the new secret.
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
