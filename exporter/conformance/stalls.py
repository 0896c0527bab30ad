"""Repetition of tests that failed because the event loop stalled on a busy machine.

A stall can be longer than a short time-out in a test. A test that fails during a stall is repeated.
Every repetition is listed at the end of the test run, so that a flaky test does not go unnoticed.
"""

from __future__ import annotations

import asyncio
import functools
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Play = Callable[[Path], Awaitable[None]]


BEAT_SECONDS = 0.05

#: The largest number of repetitions of a test.
REPEATS = 2

#: The repetitions in this test run, a line each; printed at its end.
REPLAYS: list[str] = []


class Heart:
    """A heartbeat in the event loop that measures stalls of the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._longest = 0.0

    @property
    def longest_stall(self) -> float:
        """The largest delay of a beat, in seconds."""
        return max(self._longest, self._loop.time() - self._due)

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._longest = self.longest_stall
            self._due = self._loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)


@asynccontextmanager
async def beating() -> AsyncIterator[Heart]:
    """Run a heartbeat while the context lasts."""
    heart = Heart()
    task = asyncio.create_task(heart.beat())
    try:
        yield heart
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def undisturbed(
    play: Play,
    folder: Path,
    *,
    patience_seconds: float,
    note: Callable[[str], None] = REPLAYS.append,
) -> None:
    """Run a test with short time-outs, and repeat it if it failed while the event loop stalled.

    A fault of the product fails in every repetition. A failure without a stall is not repeated.

    Args:
        play: The test; takes an empty folder.
        folder: The parent of these folders.
        patience_seconds: The longest stall that cannot be the cause of a failure.
        note: Called with a line about each failure that is repeated.
    """
    for number in range(REPEATS + 1):
        own = folder / f"play-{number}"
        own.mkdir()
        async with beating() as heart:
            try:
                await play(own)
            except Exception as error:
                stall = heart.longest_stall
                if number == REPEATS or stall <= patience_seconds:
                    raise
                test = os.environ.get("PYTEST_CURRENT_TEST", "")
                note(f"{test}: the event loop stalled for {stall:.1f} s; {error!r}")
            else:
                return


def replayed(*, patience_seconds: float) -> Callable[[Play], Play]:
    """Return a decorator that runs a test, which takes only `tmp_path`, through `undisturbed`."""

    def around(play: Play) -> Play:
        @functools.wraps(play)
        async def test(tmp_path: Path) -> None:
            await undisturbed(play, tmp_path, patience_seconds=patience_seconds)

        return test

    return around
