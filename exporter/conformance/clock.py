"""A clock for tests, which moves only when a test shifts it."""

from __future__ import annotations

import asyncio

from exporter.clock import Clock


class SteppedTime:
    """A wall clock and a monotonic clock that stand still; a sleep returns at once."""

    def __init__(self, *, unix: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self.unix = unix
        self.monotonic = monotonic
        self.clock = Clock(
            time=lambda: self.unix,
            monotonic=lambda: self.monotonic,
            sleep=self._sleep,
            boottime=lambda: self.monotonic,
        )

    async def _sleep(self, seconds: float) -> None:
        del seconds
        await asyncio.sleep(0)

    def shift(self, seconds: float) -> None:
        """Move both clocks forward; this wakes no sleeping task."""
        self.unix += seconds
        self.monotonic += seconds
