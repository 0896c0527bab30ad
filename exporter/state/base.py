"""The interface of the state: documents by key, and a change of one that nobody else can interrupt.

Every backend has the same meaning; `tests/state` holds them to it.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import msgspec


T = TypeVar("T")

#: A change of one document: from its content (`None`: there is none) and the state's clock, in
#: seconds, to its new content (`None`: delete it) and an answer. The change may run in another
#: thread and more than once, so it must be pure.
Change = Callable[[bytes | None, float], tuple[bytes | None, T]]


#: How long a store that could not be used, or lost its data, is not relied on.
RETRY_SECONDS = 61.0

#: The key of the salt.
SALT = "salt"

_SALT_BYTES = 32


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The value under a key.

    Attributes:
        age_seconds: Since it was written, by the state's clock.
    """

    value: bytes
    age_seconds: float


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of a write: the document of another key begins so.

    Attributes:
        key: Of the other document.
        prefix: The first bytes of its value.
    """

    key: str
    prefix: bytes


class State(ABC):
    """Documents by key, shared with whoever opens the same state.

    The state's clock is that of the store, not of a process: it is the same for all who share the
    state, never goes back, and goes on over restarts.

    Every method raises a `StateError` when the store cannot be used.

    Attributes:
        backend: The value of the label `backend`.
    """

    backend: str

    @property
    def shared(self) -> State:
        """The store alone: an operation on it raises a `StateError` while it cannot be used.

        For what is of no use in the memory of one process.
        """
        return self

    @property
    def whole(self) -> bool:
        """True if nothing that was written within the last minute can be missing."""
        return True

    @abstractmethod
    def now(self) -> float | None:
        """Return the state's clock, in seconds; `None` if the store was never reached."""

    @abstractmethod
    async def get(self, key: str) -> Document | None:
        """Return the document of a key, `None` if there is none."""

    @abstractmethod
    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        """Write the document of a key, whatever was there.

        Returns:
            Whether it was written: nothing is if the fence does not hold.
        """

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Delete the document of a key, if there is one."""

    @abstractmethod
    async def update(self, key: str, change: Change[T]) -> T:
        """Change the document of a key as one step: no other change comes between.

        Returns:
            The answer of the change.
        """

    @abstractmethod
    async def documents(self, prefix: str) -> dict[str, Document]:
        """Return all documents whose keys begin with a prefix, by key."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the store; nothing is called afterwards."""


class Store(State):
    """A state that can fail, and what has to go on in memory then.

    Attributes:
        newest: What `update` of this process wrote last, by key, with the time by the state's
            clock; `None` where it deleted.
    """

    newest: dict[str, tuple[bytes | None, float]]

    @abstractmethod
    def size(self) -> int:
        """Return the size of the store in bytes."""


async def salt(state: State) -> bytes:
    """Return 32 random bytes, the same for all who share the state; made at the first call.

    Hashes of credentials are keyed with them, so that equal ones cannot be found in two states.
    """
    fresh = secrets.token_bytes(_SALT_BYTES)

    def change(value: bytes | None, _: float) -> tuple[bytes, bytes]:
        kept = value if value is not None and len(value) == _SALT_BYTES else fresh
        return kept, kept

    return await state.update(SALT, change)
