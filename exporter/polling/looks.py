"""Polls of single targets for clients of `/probe`, limited so that they hold up no scheduled poll.

A client that asks in a loop must not use up the slots and requests of the scheduled polls. So for
each source

* one target is polled for clients at a time, so these polls take one slot of `concurrency`;
* each of these polls is followed by a pause of three times its duration, at least `PAUSE_SECONDS`,
  so they take that slot for at most a quarter of the time;
* these polls use at most a quarter of `requests_per_minute`.

Clients that ask about the same target share one poll, and its answer for `probe_min_age`.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from exporter.errors import PollError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.clock import Clock
    from exporter.sources.base import Explanation
    from exporter.sources.settings import SourceSettings

    #: Polls one target, given source, kind and id.
    Ask = Callable[[str, str, str], Awaitable[Explanation]]


#: The part of a slot's time, and of the budget, that polls for clients may take.
SHARE = 1 / 4

#: Pause between two polls of a source for clients, also if the source answers at once.
PAUSE_SECONDS = 0.2

#: The most calls of a poll of one target without errors: two, for a run of BlazeMeter.
CALLS = 2


class NoTurnError(TimeoutError):
    """A poll for a client did not start within the client's time limit; the target may be well."""


class _Poll:
    """One poll of one target for clients.

    Attributes:
        task: Ends with the answer.
        waiting: Number of clients that wait for the answer.
        begun: Whether the poll has started.
        ended: When the answer came, on the monotonic clock; infinite until then.
    """

    task: asyncio.Task[Explanation]

    def __init__(self) -> None:
        self.waiting = 0
        self.begun = False
        self.ended = math.inf


class _Turns:
    """The polls of one source for clients, one after the other.

    Attributes:
        settings: The source's settings. After a reload the source may be another account, so
            changed settings need a new `_Turns`.
        polls: The polls by kind and id, in the order of their turns.
        free_at: When the pause after the newest poll ends, on the monotonic clock.
    """

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self.settings = settings
        self.polls: dict[tuple[str, str], _Poll] = {}
        self._clock = clock
        self._turn = asyncio.Lock()
        self.free_at = -math.inf

    async def take(self, poll: _Poll, ask: Callable[[], Awaitable[Explanation]]) -> Explanation:
        """Wait for the turn of a poll and return its answer."""
        async with self._turn:
            await self._clock.sleep(max(0.0, self.free_at - self._clock.monotonic()))
            poll.begun = True
            began = self._clock.monotonic()
            try:
                return await ask()
            finally:
                poll.ended = self._clock.monotonic()
                self.free_at = poll.ended + self._pause(poll.ended - began)

    def _pause(self, took_seconds: float) -> float:
        budget = self.settings.requests_per_minute
        apart = 0.0 if budget is None else 60.0 * CALLS / (budget * SHARE)
        return max(PAUSE_SECONDS, took_seconds * (1 / SHARE - 1), apart - took_seconds)

    def forget_old(self) -> None:
        """Drop the answers that are no longer served."""
        not_before = self._clock.monotonic() - self.settings.probe_min_age
        for key, poll in list(self.polls.items()):
            if poll.ended > not_before:
                return
            del self.polls[key]


class Looks:
    """The polls of single targets for clients, each of which has a time limit."""

    def __init__(
        self, ask: Ask, *, settings: Callable[[str], SourceSettings | None], clock: Clock
    ) -> None:
        """Prepare the polls; nothing is polled yet.

        Args:
            ask: Polls a target.
            settings: Returns the settings of a source, the same object until they change; `None`
                if there is no such source.
            clock: The source of time.
        """
        self._ask = ask
        self._settings = settings
        self._clock = clock
        self._turns: dict[str, _Turns] = {}

    def __len__(self) -> int:
        """Count the polls that wait or are in flight, and the answers that are kept."""
        return sum(len(turns.polls) for turns in self._turns.values())

    def min_age(self, source: str) -> float:
        """Return the age in seconds below which a reading of a source needs no new poll."""
        settings = self._settings(source)
        return 0.0 if settings is None else settings.probe_min_age

    async def explain(
        self, source: str, kind: str, target_id: str, *, seconds: float
    ) -> Explanation:
        """Return the answer of a poll of one target, or a recent answer to another client.

        Args:
            source: The name of the source.
            kind: The kind of the target.
            target_id: The id of the target.
            seconds: The client's time limit.

        Raises:
            LookupError: There is no such source, kind or target.
            PollError: The call failed.
            NoTurnError: Polls for other clients, and the pauses after them, took all of the time.
            TimeoutError: There was no answer within the time.
        """
        settings = self._settings(source)
        if settings is None:
            return await self._ask(source, kind, target_id)
        turns = self._turns.get(source)
        if turns is None or turns.settings is not settings:
            turns = self._turns[source] = _Turns(settings, self._clock)
        turns.forget_old()
        key = kind, target_id
        poll = turns.polls.get(key)
        if poll is None:
            if turns.free_at > self._clock.monotonic() + seconds:
                raise NoTurnError
            poll = turns.polls[key] = _Poll()
            asking = turns.take(poll, lambda: self._ask(source, kind, target_id))
            poll.task = asyncio.create_task(asking)
            # Retrieve the exception: asyncio logs it if all clients are gone by then.
            poll.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        poll.waiting += 1
        try:
            # Shielded: a call on the wire keeps its slot to the end, also without a client.
            async with asyncio.timeout(seconds):
                return await asyncio.shield(poll.task)
        except TimeoutError:
            if poll.begun:
                raise
            raise NoTurnError from None
        except (LookupError, PollError) as error:
            # Raised once for each client: without this, the traceback would grow each time.
            raise error.with_traceback(None) from error.__cause__
        finally:
            poll.waiting -= 1
            if not poll.waiting and not poll.begun:
                poll.task.cancel()
                del turns.polls[key]
