"""States that tests can read, break, and keep longer than an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from exporter.errors import StateError
from exporter.state.base import Store
from exporter.state.memory import MemoryState


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.state.base import Change, Document, Fence


T = TypeVar("T")


class LastingState(MemoryState):
    """A state that outlives the engines that use it, as a file does.

    Attributes:
        broken: Whether the state cannot be used.
        writes: The written keys, in order.
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


#: The time after its beginning in which a store is not whole.
_YOUNG_SECONDS = 61.0


class Server:
    """A store of several hosts, which can go away, come back and lose its data.

    Attributes:
        away: Whether the store cannot be reached.
        memory: The documents.
        born: The time of its beginning.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.away = False
        self.memory = MemoryState(now)
        self.born = float("-inf")

    def lose(self) -> None:
        """Lose all data."""
        self.memory, self.born = MemoryState(self.now), self.now()


class RemoteStore(Store):
    """The connection of one process to a server."""

    backend = "remote"

    def __init__(self, server: Server) -> None:
        self._server = server
        self._born: float | None = None
        self.newest = {}

    @property
    def whole(self) -> bool:
        return self._born is None or self._server.now() - self._born >= _YOUNG_SECONDS

    def now(self) -> float | None:
        return None if self._born is None else self._server.now()

    async def get(self, key: str) -> Document | None:
        return await self._reached().get(key)

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        return await self._reached().put(key, value, fence=fence)

    async def delete(self, key: str) -> None:
        await self._reached().delete(key)

    async def update(self, key: str, change: Change[T]) -> T:
        memory = self._reached()
        answer = await memory.update(key, change)
        self.newest[key] = memory.newest[key]
        return answer

    async def documents(self, prefix: str) -> dict[str, Document]:
        return await self._reached().documents(prefix)

    async def aclose(self) -> None:
        pass

    def size(self) -> int:
        return 0

    def _reached(self) -> MemoryState:
        if self._server.away:
            raise StateError("the store is away")
        self._born = self._server.born
        return self._server.memory
