"""States that a test can look into, break, and keep over the end of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.errors import StateError
from exporter.state.memory import MemoryState


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.state.base import Document, Fence


class LastingState(MemoryState):
    """A state that outlives the engines that use it, as a file does.

    Attributes:
        broken: Whether it cannot be used.
        writes: The keys that were written, in their order.
    """

    broken = False

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.writes: list[str] = []

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        self._check()
        self.writes.append(key)
        return await super().put(key, value, fence=fence)

    async def documents(self, prefix: str) -> dict[str, Document]:
        self._check()
        return await super().documents(prefix)

    async def get(self, key: str) -> Document | None:
        self._check()
        return await super().get(key)

    async def aclose(self) -> None:
        pass

    def _check(self) -> None:
        if self.broken:
            raise StateError("the disk is full")
