"""Calls to many targets in one poll: which go first, and whose fault a time-out is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from exporter.clock import Moment
from exporter.errors import BlockedError, PollError, Reason
from exporter.lockout.queue import Priority
from exporter.sources.base import Failure
from exporter.sources.realload.actions import TIMED_OUT, Flagged
from exporter.sources.realload.client import RealLoadClient, TargetTimeoutError, Trace


A = TypeVar("A")

Ping = Callable[[Trace], Awaitable[A | Flagged]]

#: A call that takes this part of its time-out counts as slow.
_SLOW_PART = 1 / 3

#: While other targets are queued, 1/8 of the concurrency is kept for slow and failed ones.
_SLOW_SHARE = 8


class PingResult(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """The answer of a target, or what a flag or a time-out says of it, and when the call ended."""

    at: Moment
    answer: A | Flagged


class _LastCall(msgspec.Struct, frozen=True, kw_only=True):
    """The newest call to a target.

    Attributes:
        batch: The number of the batch in which it was made.
        seconds: How long it took; infinite when it failed.
        suspect: Whether its reply looked like a refusal of the credentials.
    """

    batch: int = 0
    seconds: float = 0.0
    suspect: bool = False


_NEVER_CALLED = _LastCall()


class Pinger:
    """Calls the same targets poll after poll.

    Those that the poll before did not reach come first, then those that failed or were slow, and
    last those whose replies looked like refusals.
    """

    def __init__(self, client: RealLoadClient) -> None:
        self._client = client
        self._clock = client.context.clock
        self._concurrency = client.settings.concurrency
        self._slow_seconds = client.settings.timeout * _SLOW_PART
        self._number = 0
        self._last_calls: dict[str, _LastCall] = {}

    async def run(
        self, pings: Mapping[str, Ping[A]]
    ) -> tuple[Mapping[str, PingResult[A]], list[Failure]]:
        """Call all targets, as many at once as the guard allows.

        About as many calls queue at the guard as can be under way, so that ten thousand targets do
        not take the memory of as many waiting calls, and other tasks' calls get their turn.

        A time-out is the target's failure, unless every call of a batch of two or more timed out,
        those left out that were not sent, or the proof that was to be sent before them: then it is
        the portal that hangs, and no target is judged.

        Returns:
            The results by target, and the calls that said nothing about their target.
        """
        self._number += 1
        queues = self._queues(pings)
        last_calls: dict[str, _LastCall] = {}
        outcomes: dict[str, PingResult[A] | PollError] = {}

        async def worker(*queues: tuple[Priority, Iterator[str]]) -> None:
            for priority, targets in queues:
                for target in targets:
                    outcomes[target], last_calls[target] = await self._ping(
                        target, pings[target], priority
                    )

        left = {priority: iter(targets) for priority, targets in queues.items()}
        async with asyncio.TaskGroup() as group:
            # A slow call takes as much time as dozens of others and must not hold those up.
            slow = len(queues[Priority.SLOW])
            for _ in range(min(slow, max(1, self._concurrency // _SLOW_SHARE))):
                group.create_task(worker((Priority.SLOW, left[Priority.SLOW])))
            # A worker that finds nothing else to do helps with the slow ones.
            for _ in range(min(len(pings), self._concurrency)):
                group.create_task(worker(*left.items()))
                # Start calls one loop turn apart. When hundreds start in the same turn, the
                # measured latency of each contains the set-up of all others.
                await asyncio.sleep(0)
        self._last_calls = last_calls
        return self._judged({target: outcomes[target] for target in pings})

    async def _ping(
        self, target: str, ping: Ping[A], priority: Priority
    ) -> tuple[PingResult[A] | PollError, _LastCall]:
        """Call one target; return what came of it, and what to remember of it."""
        trace = Trace(priority=priority)
        outcome: PingResult[A] | PollError
        try:
            answer = await ping(trace)
        except PollError as error:
            outcome, seconds = error, math.inf
            if isinstance(error, BlockedError) and not trace.suspect:
                # A call that is not sent costs no wait, and thousands of them would hold the loop.
                await asyncio.sleep(0)
                return outcome, self._last_calls.get(target, _NEVER_CALLED)
        else:
            outcome = PingResult(at=self._clock.now(), answer=answer)
            failed = isinstance(answer, Flagged) and not answer.up
            seconds = math.inf if failed else trace.seconds
        return outcome, _LastCall(batch=self._number, seconds=seconds, suspect=trace.suspect)

    def _queues(self, pings: Mapping[str, Ping[A]]) -> Mapping[Priority, list[str]]:
        """Divide the targets by the priority of their calls, each part in the order of calling.

        A poll begins where the last one was cut off, so that the order of the portal's list does
        not decide which targets are never reached. Replies that looked like refusals may cut a
        poll off, so these targets come last.
        """
        queues: dict[Priority, list[str]] = {priority: [] for priority in Priority}

        def order(item: tuple[str, _LastCall]) -> tuple[bool, int, float]:
            last = item[1]
            return last.suspect, last.batch, -last.seconds

        last_calls = {target: self._last_calls.get(target, _NEVER_CALLED) for target in pings}
        for target, last in sorted(last_calls.items(), key=order):
            slow = last.seconds >= self._slow_seconds and not last.suspect
            queues[Priority.SLOW if slow else Priority.NORMAL].append(target)
        return queues

    def _judged(
        self, outcomes: Mapping[str, PingResult[A] | PollError]
    ) -> tuple[Mapping[str, PingResult[A]], list[Failure]]:
        sent = [outcome for outcome in outcomes.values() if not isinstance(outcome, BlockedError)]
        # A proof of the credentials that took too long tells of the portal, too. And of a batch
        # that the guard cut down to one call, that one tells no more than any other.
        timed_out = [
            outcome
            for outcome in outcomes.values()
            if isinstance(outcome, PollError) and outcome.reason is Reason.TIMEOUT
        ]
        late = [outcome for outcome in timed_out if isinstance(outcome, TargetTimeoutError)]
        proof_too = any(isinstance(outcome, BlockedError) for outcome in timed_out)
        hangs = bool(late) and len(outcomes) > 1 and (proof_too or len(timed_out) == len(sent))
        results: dict[str, PingResult[A]] = {}
        failures: list[Failure] = []
        for target, outcome in outcomes.items():
            if isinstance(outcome, PingResult):
                results[target] = outcome
            elif not isinstance(outcome, TargetTimeoutError):
                failures.append(Failure(reason=outcome.reason, message=str(outcome), target=target))
            elif not hangs:
                results[target] = PingResult(at=self._clock.now(), answer=TIMED_OUT)
        if hangs:
            message = f"the portal hangs: {len(late)} calls timed out, and no target is judged"
            failures.append(Failure(reason=Reason.TIMEOUT, message=message))
        return results, failures
