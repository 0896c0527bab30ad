"""A busy machine may let the tests stand still for longer than a short time-out in them waits.

A play that failed meanwhile is played again. Each of these is told at the end of the test run, so
that a test that fails now and then by its own fault does not hide behind the machine.
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

#: So often a play may fail for having stood still.
REPEATS = 2

#: What was played again in this test run, a line each; `tests/conftest.py` prints them.
REPLAYS: list[str] = []


class Heart:
    """Beats in the loop, and notices when that stands still."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._longest = 0.0

    @property
    def longest_stall(self) -> float:
        """For how many seconds at most it has not beaten although it should have."""
        return max(self._longest, self._loop.time() - self._due)

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._longest = self.longest_stall
            self._due = self._loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)


@asynccontextmanager
async def beating() -> AsyncIterator[Heart]:
    """Have a heart beat while the context lasts."""
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
    """Play something in which calls time out, and again if it failed because the loop stood still.

    What is wrong with the product fails in every play, and what fails while the loop went on is
    not played again.

    Args:
        play: Takes a folder of its own.
        folder: Where these folders go.
        patience_seconds: A stall that is no longer explains nothing.
        note: Told of each play that failed and is played again.
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
                note(f"{test}: the loop stood still for {stall:.1f} s; {error!r}")
            else:
                return


def replayed(*, patience_seconds: float) -> Callable[[Play], Play]:
    """Have a test that takes nothing but `tmp_path` played by `undisturbed`."""

    def around(play: Play) -> Play:
        @functools.wraps(play)
        async def test(tmp_path: Path) -> None:
            await undisturbed(play, tmp_path, patience_seconds=patience_seconds)

        return test

    return around
