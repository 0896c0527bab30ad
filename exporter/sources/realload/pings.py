"""Calls to many targets in one poll: their order, and the cause of time-outs."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from enum import Enum, auto
from statistics import median
from typing import Generic, TypeVar

import msgspec

from exporter.clock import Moment
from exporter.cooperative import collected, in_turns
from exporter.errors import BlockedError, PollError, Reason
from exporter.lockout.queue import Priority
from exporter.sources.base import Failure
from exporter.sources.realload.actions import TIMED_OUT, Flagged
from exporter.sources.realload.client import RealLoadClient, TargetTimeoutError, Trace


A = TypeVar("A")

Ping = Callable[[Trace], Awaitable[A | Flagged]]

#: A call that takes at least this part of `timeout` counts as slow.
_SLOW_PART = 1 / 3

#: While other targets are queued, 1/8 of the concurrency is kept for slow and failed ones.
_SLOW_SHARE = 8

#: The vendor is slow if at least this number and this share of the calls timed out.
_LEAST_SLOW = 2
_SLOW_CALLS = 1 / 4

#: An answer is fast if it takes less than this part of the time-out.
_FAST_PART = 1 / 2

#: If there is no other target to compare with, a target is down after this many time-outs in a row.
_POLLS_IN_A_ROW = 3


class PingResult(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """The result of a call to a target.

    Attributes:
        at: When the call ended.
        answer: The target's answer, or the meaning of an error flag or a time-out.
        seconds: The duration of the call.
    """

    at: Moment
    answer: A | Flagged
    seconds: float = 0.0


class Pinged(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """The outcome of calling all targets of a poll.

    Attributes:
        results: The results by target, without the targets whose calls gave no result.
        failures: The calls that gave no result.
        asked: False if there were targets and no call gave a result.
        vendor_slow: Whether calls timed out and no target is held responsible.
    """

    results: Mapping[str, PingResult[A]]
    failures: tuple[Failure, ...] = ()
    asked: bool = True
    vendor_slow: bool = False


class Ending(Enum):
    """The kind of end of a call to a target."""

    ANSWERED = auto()
    FLAGGED = auto()
    TIMED_OUT = auto()
    FAILED = auto()
    UNSENT = auto()


def accuses(calls: Sequence[tuple[Ending, float]], *, timeout_seconds: float) -> bool | None:
    """Return whether the time-outs among a poll's calls are to be blamed on their targets.

    Args:
        calls: The end and the duration in seconds of each call.
        timeout_seconds: The time limit of a call.

    Returns:
        `True` if the targets are to blame, `False` if the vendor is slow, and `None` if there is no
        answer to compare with, so that one poll cannot decide. `True` and `None` are valid only if
        the vendor accepts a cheap call now.
    """
    endings = Counter(ending for ending, _ in calls)
    sent = len(calls) - endings[Ending.UNSENT]
    if endings[Ending.TIMED_OUT] >= max(_LEAST_SLOW, sent * _SLOW_CALLS):
        return False
    fast = timeout_seconds * _FAST_PART
    # A late error flag means that the portal waited for the machine, so it is not counted.
    answered = [
        seconds
        for ending, seconds in calls
        if ending is Ending.ANSWERED or (ending is Ending.FLAGGED and seconds < fast)
    ]
    if answered:
        return median(answered) < fast
    return False if endings[Ending.FAILED] or endings[Ending.UNSENT] else None


class _LastCall(msgspec.Struct, frozen=True, kw_only=True):
    """The newest call to a target.

    Attributes:
        batch: The number of the poll in which the call was made.
        seconds: The duration of the call; infinite if it failed.
        suspect: Whether the reply looked like a refusal of the credentials.
    """

    batch: int = 0
    seconds: float = 0.0
    suspect: bool = False


_NEVER_CALLED = _LastCall()


class Pinger:
    """Calls the targets of a task in every poll.

    The targets that the last poll did not reach come first, then the slowest, failed calls counting
    as infinitely slow, and last the targets whose replies looked like refusals.
    """

    def __init__(self, client: RealLoadClient) -> None:
        self._client = client
        self._clock = client.context.clock
        self._progress = client.context.progress
        self._concurrency = client.settings.concurrency
        timeout = client.settings.timeout
        self._timeout_seconds = min(client.settings.read_timeout or timeout, timeout)
        self._slow_seconds = timeout * _SLOW_PART
        self._number = 0
        #: For each target whose call timed out, the number of polls in a row in which it did so
        #: while the vendor accepted a cheap call.
        self._in_a_row: Mapping[str, int] = {}
        self._last_calls: dict[str, _LastCall] = {}

    async def run(self, pings: Mapping[str, Ping[A]]) -> Pinged[A]:
        """Call all targets, as many at once as the guard allows.

        Only about `concurrency` calls queue at the guard, so that ten thousand targets do not need
        the memory of as many waiting calls, and other tasks' calls get their turn.

        A time-out counts as the target's failure only if the vendor is not to blame; see `accuses`.

        Args:
            pings: The call to each target, in the order of the list.

        Returns:
            The results and the failures of all calls.
        """
        self._number += 1
        queues = await self._queues(pings)
        last_calls: dict[str, _LastCall] = {}
        outcomes: dict[str, PingResult[A] | PollError] = {}
        self._progress.targets += len(pings)

        async def worker(*queues: tuple[Priority, Iterator[str]]) -> None:
            for priority, targets in queues:
                for target in targets:
                    outcomes[target], last_calls[target] = await self._ping(
                        target, pings[target], priority
                    )
                    self._progress.called += 1

        left = {priority: iter(targets) for priority, targets in queues.items()}
        async with asyncio.TaskGroup() as group:
            # A slow call takes as long as dozens of others and must not delay them.
            slow = len(queues[Priority.SLOW])
            for _ in range(min(slow, max(1, self._concurrency // _SLOW_SHARE))):
                group.create_task(worker((Priority.SLOW, left[Priority.SLOW])))
            # A worker whose queue is empty helps with the slow calls.
            for _ in range(min(len(pings), self._concurrency)):
                group.create_task(worker(*left.items()))
                # Start calls one loop turn apart. When hundreds start in the same turn, the
                # measured latency of each contains the set-up of all others.
                await asyncio.sleep(0)
        self._last_calls = last_calls
        return await self._judged({target: outcomes[target] for target in pings})

    async def _ping(
        self, target: str, ping: Ping[A], priority: Priority
    ) -> tuple[PingResult[A] | PollError, _LastCall]:
        """Call one target; return its outcome, and the record of the call for the next poll."""
        trace = Trace(priority=priority)
        outcome: PingResult[A] | PollError
        try:
            answer = await ping(trace)
        except PollError as error:
            outcome, seconds = error, math.inf
            if isinstance(error, BlockedError) and not trace.suspect:
                # A call that is not sent does not wait; thousands of them would block the loop.
                await asyncio.sleep(0)
                return outcome, self._last_calls.get(target, _NEVER_CALLED)
        else:
            outcome = PingResult(at=self._clock.now(), answer=answer, seconds=trace.seconds)
            failed = isinstance(answer, Flagged) and not answer.up
            seconds = math.inf if failed else trace.seconds
        return outcome, _LastCall(batch=self._number, seconds=seconds, suspect=trace.suspect)

    async def _queues(self, pings: Mapping[str, Ping[A]]) -> Mapping[Priority, list[str]]:
        """Return the targets by the priority of their calls, each queue in the order of calling.

        A poll begins where the last poll was cut off, so that the targets at the end of the
        portal's list are reached, too. Replies that look like refusals can cut a poll off, so
        the targets with such replies come last.
        """
        # There are few groups, and in each the slowest comes first. Sorting blocks the loop, and
        # numbers are sorted many times faster than tuples.
        groups: dict[tuple[bool, int], dict[str, float]] = {}
        async for target in in_turns(pings):
            last = self._last_calls.get(target, _NEVER_CALLED)
            groups.setdefault((last.suspect, last.batch), {})[target] = -last.seconds
        queues: dict[Priority, list[str]] = {priority: [] for priority in Priority}
        for (suspect, _), group in sorted(groups.items()):
            async for target in in_turns(sorted(group, key=group.__getitem__)):
                slow = -group[target] >= self._slow_seconds and not suspect
                queues[Priority.SLOW if slow else Priority.NORMAL].append(target)
        return queues

    async def _judged(self, outcomes: Mapping[str, PingResult[A] | PollError]) -> Pinged[A]:
        accused = await self._accused(outcomes)
        results: dict[str, PingResult[A]] = {}
        failures: list[Failure] = []
        unjudged = 0
        is_late = False
        async for target, outcome in in_turns(outcomes.items()):
            is_late = is_late or _is_late(outcome)
            if isinstance(outcome, PingResult):
                results[target] = outcome
            elif target in accused:
                results[target] = PingResult(at=self._clock.now(), answer=TIMED_OUT)
            elif isinstance(outcome, TargetTimeoutError):
                unjudged += 1
            else:
                failures.append(Failure(reason=outcome.reason, message=str(outcome), target=target))
        if unjudged:
            message = f"{unjudged} calls timed out; the vendor may be slow, so no target is judged"
            failures.append(Failure(reason=Reason.TIMEOUT, message=message, cuts_list=False))
        return Pinged(
            results=results,
            failures=tuple(failures),
            asked=bool(results) or not outcomes,
            vendor_slow=not accused and is_late,
        )

    async def _accused(self, outcomes: Mapping[str, PingResult[A] | PollError]) -> set[str]:
        """Return the targets that are to blame for their time-outs."""
        late = {target for target, each in outcomes.items() if isinstance(each, TargetTimeoutError)}
        endings = await collected(map(_ending, outcomes.values()))
        accusation = accuses(endings, timeout_seconds=self._timeout_seconds)
        before, self._in_a_row = self._in_a_row, {}
        if not late or accusation is False or not await self._client.accepts():
            return set()
        self._in_a_row = {target: before.get(target, 0) + 1 for target in late}
        if accusation:
            return late
        return {target for target in late if self._in_a_row[target] >= _POLLS_IN_A_ROW}


def _is_late(outcome: PingResult[A] | PollError) -> bool:
    """Return whether a call, or a proof of the credentials that it waited for, timed out."""
    return isinstance(outcome, PollError) and outcome.reason is Reason.TIMEOUT


def _ending(outcome: PingResult[A] | PollError) -> tuple[Ending, float]:
    if _is_late(outcome):
        return Ending.TIMED_OUT, math.inf
    if isinstance(outcome, PollError):
        return Ending.UNSENT if isinstance(outcome, BlockedError) else Ending.FAILED, math.inf
    flagged = isinstance(outcome.answer, Flagged)
    return Ending.FLAGGED if flagged else Ending.ANSWERED, outcome.seconds
