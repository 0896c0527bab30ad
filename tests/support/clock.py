"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from typing import Any

from exporter.conformance.clock import SteppedTime


class FakeClock(SteppedTime):
    """Time under a test's control.

    Production code gets `clock`. Sleepers wake when `advance` passes their time.
    """

    def __init__(self, *, unix: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        super().__init__(unix=unix, monotonic=monotonic)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    async def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.monotonic + seconds, next(self._order), future))
        await future

    @property
    def sleepers(self) -> int:
        """The number of sleeping tasks."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Move both clocks, waking sleepers in their order and letting them run."""
        end = self.monotonic + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self.shift(max(0.0, due - self.monotonic))
            if not future.done():
                future.set_result(None)
            await settle()
        self.shift(end - self.monotonic)
        await settle()


async def settle(rounds: int = 50) -> None:
    """Run everything that is ready, also what threads and sockets make ready meanwhile."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(rounds):
        await asyncio.sleep(0)
        # One of the selector's files belongs to the loop itself.
        alone = threading.active_count() == 1 and len(loop._selector.get_map()) == 1
        if alone and not loop._ready:
            return
