"""The state in the memory of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from exporter.state.base import Change, Document, Fence, State


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


T = TypeVar("T")


class MemoryState(State):
    """Documents that end with the process.

    Attributes:
        newest: The contents that `update` wrote last, by key (`None` if it deleted the document),
            with the time by the state's clock.
    """

    backend = "memory"

    def __init__(
        self,
        now: Callable[[], float],
        known: Mapping[str, tuple[bytes | None, float]] | None = None,
    ) -> None:
        """Create a state with known documents.

        Args:
            now: Returns the state's clock, in seconds.
            known: The documents, as in `newest`.
        """
        self._now = now
        self.newest = dict(known or {})
        self._documents = {
            key: (value, written)
            for key, (value, written) in self.newest.items()
            if value is not None
        }

    async def get(self, key: str) -> Document | None:
        """Return the document of a key, `None` if there is none."""
        known = self._documents.get(key)
        return None if known is None else self._document(*known)

    def now(self) -> float:
        """Return the state's clock, in seconds."""
        return self._now()

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        """Write the document of a key, unless a fence does not hold.

        Returns:
            Whether the document was written.
        """
        if fence is not None:
            other = self._documents.get(fence.key)
            if other is None or not other[0].startswith(fence.prefix):
                return False
        self._documents[key] = (value, self._now())
        self._follow(key, value)
        return True

    async def delete(self, key: str) -> None:
        """Delete the document of a key, if there is one."""
        self._documents.pop(key, None)
        self._follow(key, None)

    async def update(self, key: str, change: Change[T]) -> T:
        """Change the document of a key.

        Returns:
            The answer of the change.
        """
        now = self._now()
        known = self._documents.get(key)
        value, answer = change(None if known is None else known[0], now)
        if value is None:
            self._documents.pop(key, None)
        else:
            self._documents[key] = (value, now)
        self.newest[key] = (value, now)
        return answer

    async def documents(self, prefix: str) -> dict[str, Document]:
        """Return all documents whose keys begin with a prefix, by key."""
        return {
            key: self._document(*known)
            for key, known in sorted(self._documents.items())
            if key.startswith(prefix)
        }

    async def aclose(self) -> None:
        """Delete all documents."""
        self._documents.clear()

    def _follow(self, key: str, value: bytes | None) -> None:
        if key in self.newest:
            self.newest[key] = (value, self._now())

    def _document(self, value: bytes, written: float) -> Document:
        return Document(value=value, age_seconds=max(0.0, self._now() - written))
