"""The looks at single targets that clients cause, so few that the source's polls do not suffer.

A client that asks in a loop must not take from the polls what they need. So at each source

* one target is looked at at a time, whoever asks: in one slot of `concurrency` at most;
* after a look passes three times as long as it took, so that this slot is taken for a quarter of
  the time, and at least `PAUSE_SECONDS`;
* looks take at most a quarter of `requests_per_minute`.

Clients that ask about the same target meanwhile share the look, and for `probe_min_age` its answer.
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

    #: Asks the vendor about one target, given source, kind and id.
    Ask = Callable[[str, str, str], Awaitable[Explanation]]


#: The part of a slot's time, and of the budget, that looks may take.
SHARE = 1 / 4

#: Between two looks at a source, also where it answers at once and has no budget.
PAUSE_SECONDS = 0.2

#: The most calls that a look takes while nothing goes wrong: two, for a run of BlazeMeter.
CALLS = 2


class NoTurnError(TimeoutError):
    """A look could not begin in the client's time, which says nothing of its target."""


class _Look:
    """One look at one target.

    Attributes:
        task: Ends with the answer.
        waiting: How many clients wait for it.
        begun: Whether the vendor is asked already.
        ended: When the answer came, on the monotonic clock; infinite until then.
    """

    task: asyncio.Task[Explanation]

    def __init__(self) -> None:
        self.waiting = 0
        self.begun = False
        self.ended = math.inf


class _Turns:
    """The looks at one source, one after the other.

    Attributes:
        settings: The source's; with others the source may be another account.
        looks: By kind and id, in the order of their turns.
        free_at: When the pause after the newest look ends, on the monotonic clock.
    """

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self.settings = settings
        self.looks: dict[tuple[str, str], _Look] = {}
        self._clock = clock
        self._turn = asyncio.Lock()
        self.free_at = -math.inf

    async def take(self, look: _Look, ask: Callable[[], Awaitable[Explanation]]) -> Explanation:
        """Wait for the turn of a look and return its answer."""
        async with self._turn:
            await self._clock.sleep(max(0.0, self.free_at - self._clock.monotonic()))
            look.begun = True
            began = self._clock.monotonic()
            try:
                return await ask()
            finally:
                look.ended = self._clock.monotonic()
                self.free_at = look.ended + self._pause(look.ended - began)

    def _pause(self, took_seconds: float) -> float:
        budget = self.settings.requests_per_minute
        apart = 0.0 if budget is None else 60.0 * CALLS / (budget * SHARE)
        return max(PAUSE_SECONDS, took_seconds * (1 / SHARE - 1), apart - took_seconds)

    def forget_old(self) -> None:
        """Drop the answers that are no longer served."""
        not_before = self._clock.monotonic() - self.settings.probe_min_age
        for key, look in list(self.looks.items()):
            if look.ended > not_before:
                return
            del self.looks[key]


class Looks:
    """The looks that clients ask for, each of them with some seconds to wait."""

    def __init__(
        self, ask: Ask, *, settings: Callable[[str], SourceSettings | None], clock: Clock
    ) -> None:
        """Ask nothing yet.

        Args:
            ask: Asks the vendor.
            settings: Returns the settings of a source, the same object until they change; `None`
                if there is no such source.
            clock: Where time comes from.
        """
        self._ask = ask
        self._settings = settings
        self._clock = clock
        self._turns: dict[str, _Turns] = {}

    def __len__(self) -> int:
        """Count the looks that are to come or under way, and the answers that are kept."""
        return sum(len(turns.looks) for turns in self._turns.values())

    def min_age(self, source: str) -> float:
        """Return up to which age, in seconds, a reading of a source is shown without a look."""
        settings = self._settings(source)
        return 0.0 if settings is None else settings.probe_min_age

    async def explain(
        self, source: str, kind: str, target_id: str, *, seconds: float
    ) -> Explanation:
        """Return the answer of a look at one target, an earlier one's while that is young.

        Raises:
            LookupError: There is no such source, kind or target.
            PollError: The call failed.
            NoTurnError: Other looks, and the pauses after them, took all of the seconds.
            TimeoutError: There was no answer within the seconds.
        """
        settings = self._settings(source)
        if settings is None:
            return await self._ask(source, kind, target_id)
        turns = self._turns.get(source)
        if turns is None or turns.settings is not settings:
            turns = self._turns[source] = _Turns(settings, self._clock)
        turns.forget_old()
        key = kind, target_id
        look = turns.looks.get(key)
        if look is None:
            if turns.free_at > self._clock.monotonic() + seconds:
                raise NoTurnError
            look = turns.looks[key] = _Look()
            asking = turns.take(look, lambda: self._ask(source, kind, target_id))
            look.task = asyncio.create_task(asking)
            # The client may be gone by then.
            look.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        look.waiting += 1
        try:
            # A call on the wire takes its slot to its end, also when nobody waits any more.
            async with asyncio.timeout(seconds):
                return await asyncio.shield(look.task)
        except TimeoutError:
            if look.begun:
                raise
            raise NoTurnError from None
        except (LookupError, PollError) as error:
            # Raised for each client, it would grow with their number.
            raise error.with_traceback(None) from error.__cause__
        finally:
            look.waiting -= 1
            if not look.waiting and not look.begun:
                look.task.cancel()
                del turns.looks[key]
