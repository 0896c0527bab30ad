"""One round of calls to many targets: who goes first, and whose fault a time-out is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from exporter.clock import Clock, Moment
from exporter.errors import BlockedError, PollError, Reason
from exporter.lockout.queue import Priority
from exporter.sources.base import Failure
from exporter.sources.realload.actions import TIMED_OUT, Flagged
from exporter.sources.realload.client import RealLoadClient, TargetTimeoutError, Trace


A = TypeVar("A")

Ask = Callable[[Trace], Awaitable[A | Flagged]]

#: A call that takes this part of its time-out counts as slow.
_SLOW_PART = 1 / 3

#: One of so many places is for what was slow or failed last time, while anything else is left.
_SLOW_SHARE = 8


class Look(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """What a call found out about its target, and when it ended."""

    at: Moment
    answer: A | Flagged


class Round(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """What a round found out.

    Attributes:
        looks: By target; who is missing was not found out about.
        failures: The calls that said nothing about their target.
    """

    looks: Mapping[str, Look[A]]
    failures: tuple[Failure, ...] = ()


class _Past(msgspec.Struct, frozen=True, kw_only=True):
    """How a target's newest call went.

    Attributes:
        round: The round in which it was made.
        seconds: How long it took; infinite when it failed.
        suspect: Whether its reply looked like a refusal of the credentials.
    """

    round: int = 0
    seconds: float = 0.0
    suspect: bool = False


_NEW = _Past()


class Rounds:
    """Calls the same targets round after round.

    Those that failed or were slow come first, and last those that looked like refusals.
    """

    def __init__(
        self, client: RealLoadClient, *, clock: Clock, timeout_seconds: float, concurrency: int
    ) -> None:
        self._client = client
        self._clock = clock
        self._concurrency = concurrency
        self._slow_seconds = timeout_seconds * _SLOW_PART
        self._number = 0
        self._past: dict[str, _Past] = {}

    async def go(self, asks: Mapping[str, Ask[A]]) -> Round[A]:
        """Call all targets, as many at once as the guard allows.

        About as many calls queue at the guard as can be under way, so that ten thousand targets do
        not take the memory of as many waiting calls, and other tasks' calls get their turn.

        A time-out is the target's failure, unless every call of a round of two or more timed out,
        those left out that were not sent, or the proof that was to be sent before them: then it is
        the portal that hangs, and no target is judged.
        """
        self._number += 1
        priorities = self._queue(asks)
        past: dict[str, _Past] = {}
        outcomes: dict[str, Look[A] | PollError] = {}

        async def one(target: str, priority: Priority) -> None:
            outcomes[target], past[target] = await self._look(target, asks[target], priority)

        async def worker(*priorities: tuple[Priority, Iterator[str]]) -> None:
            for priority, targets in priorities:
                for target in targets:
                    await one(target, priority)

        left = {priority: iter(targets) for priority, targets in priorities.items()}
        everywhere = tuple(left.items())
        async with asyncio.TaskGroup() as group:
            # A slow call takes as much time as dozens of others and must not hold those up.
            slow = len(priorities[Priority.SLOW])
            for _ in range(min(slow, max(1, self._concurrency // _SLOW_SHARE))):
                group.create_task(worker((Priority.SLOW, left[Priority.SLOW])))
            # Whoever finds nothing else to do helps with the slow ones.
            for _ in range(min(len(asks), self._concurrency)):
                group.create_task(worker(*everywhere))
                # One after the other: of hundreds of calls that begin at once each would take as
                # long as all, and so would those that follow them.
                await asyncio.sleep(0)
        self._past = past
        return self._judge({target: outcomes[target] for target in asks})

    async def _look(
        self, target: str, ask: Ask[A], priority: Priority
    ) -> tuple[Look[A] | PollError, _Past]:
        """Call one target; return what came of it, and what to remember of it."""
        trace = Trace(priority=priority)
        outcome: Look[A] | PollError
        try:
            answer = await ask(trace)
        except PollError as error:
            outcome, seconds = error, math.inf
            if isinstance(error, BlockedError) and not trace.suspect:
                # What is not sent costs no wait, and thousands of these would hold the loop.
                await asyncio.sleep(0)
                return outcome, self._past.get(target, _NEW)
        else:
            outcome = Look(at=self._clock.now(), answer=answer)
            failed = isinstance(answer, Flagged) and not answer.up
            seconds = math.inf if failed else trace.seconds
        return outcome, _Past(round=self._number, seconds=seconds, suspect=trace.suspect)

    def _queue(self, asks: Mapping[str, Ask[A]]) -> Mapping[Priority, list[str]]:
        """Say in which priority each target's call is to queue, and in which order."""
        priorities: dict[Priority, list[str]] = {priority: [] for priority in Priority}
        for target in sorted(asks, key=lambda target: -self._past.get(target, _NEW).seconds):
            past = self._past.get(target, _NEW)
            slow = Priority.SLOW if past.seconds >= self._slow_seconds else Priority.NORMAL
            priorities[Priority.SUSPECT if past.suspect else slow].append(target)
        # There may be room for a few of these only, so that they have to take turns.
        priorities[Priority.SUSPECT].sort(key=lambda target: self._past[target].round)
        return priorities

    def _judge(self, outcomes: Mapping[str, Look[A] | PollError]) -> Round[A]:
        sent = [outcome for outcome in outcomes.values() if not isinstance(outcome, BlockedError)]
        # A proof of the credentials that took too long tells of the portal, too. And of a round
        # that the guard cut down to one call, that one tells no more than any other.
        timed_out = [outcome for outcome in outcomes.values() if _has_timed_out(outcome)]
        late = [outcome for outcome in timed_out if isinstance(outcome, TargetTimeoutError)]
        proof_too = any(isinstance(outcome, BlockedError) for outcome in timed_out)
        hangs = bool(late) and len(outcomes) > 1 and (proof_too or len(timed_out) == len(sent))
        looks: dict[str, Look[A]] = {}
        failures: list[Failure] = []
        for target, outcome in outcomes.items():
            if isinstance(outcome, Look):
                looks[target] = outcome
            elif not isinstance(outcome, TargetTimeoutError):
                failures.append(Failure(reason=outcome.reason, message=str(outcome), target=target))
            elif not hangs:
                looks[target] = Look(at=self._clock.now(), answer=TIMED_OUT)
        if hangs or (len(sent) > 1 and not looks):
            self._client.up = False
        if hangs:
            message = f"the portal hangs: {len(late)} calls timed out, and no target is judged"
            failures.append(Failure(reason=Reason.TIMEOUT, message=message))
        return Round(looks=looks, failures=tuple(failures))


def _has_timed_out(outcome: Look[A] | PollError) -> bool:
    return isinstance(outcome, PollError) and outcome.reason is Reason.TIMEOUT
