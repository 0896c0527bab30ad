"""The interface of the state: documents by key, with atomic changes of one document.

All backends behave the same; `tests/state` checks that.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import msgspec


T = TypeVar("T")

#: A change of one document: a function of its content (`None` if it does not exist) and the state's
#: clock, in seconds. It returns the new content (`None` to delete the document) and an answer. It
#: may run in another thread and more than once, so it must be pure.
Change = Callable[[bytes | None, float], tuple[bytes | None, T]]


#: How long a store that failed or lost its data is not relied on: the minute for which the
#: lock-out ledger counts refusals, and a second more.
RETRY_SECONDS = 61.0

#: The key of the document with the salt.
SALT = "salt"

_SALT_BYTES = 32


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The value under a key.

    Attributes:
        age_seconds: Seconds since the document was written, by the state's clock.
    """

    value: bytes
    age_seconds: float


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of a write: the value of another document starts with a prefix.

    Attributes:
        key: The key of the other document.
        prefix: The first bytes of its value.
    """

    key: str
    prefix: bytes


class State(ABC):
    """Documents by key, shared by all processes that open the same state.

    The state's clock belongs to the store, not to a process: it is the same for all processes that
    share the state, never goes back, and continues over restarts.

    Every method raises a `StateError` when the store cannot be used.

    Attributes:
        backend: The value of the label `backend`.
    """

    backend: str

    @property
    def shared(self) -> State:
        """The store without a fallback to memory: raises a `StateError` while it cannot be used.

        For documents that are useless in the memory of one process, such as leases.
        """
        return self

    @property
    def whole(self) -> bool:
        """True if no write of the last minute can be missing."""
        return True

    @abstractmethod
    def now(self) -> float | None:
        """Return the state's clock, in seconds; `None` if the store was never reached."""

    @abstractmethod
    async def get(self, key: str) -> Document | None:
        """Return the document of a key, `None` if there is none."""

    @abstractmethod
    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        """Write the document of a key, if there is no fence or its condition holds.

        Returns:
            Whether the document was written.
        """

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Delete the document of a key, if there is one."""

    @abstractmethod
    async def update(self, key: str, change: Change[T]) -> T:
        """Change the document of a key atomically.

        Returns:
            The answer of the change.
        """

    @abstractmethod
    async def documents(self, prefix: str) -> dict[str, Document]:
        """Return all documents whose keys begin with a prefix, by key."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the store; no method may be called afterwards."""


class Store(State):
    """A state that can fail, with the documents that a fallback in memory needs then.

    Attributes:
        newest: The contents that `update` of this process wrote last, by key (`None` if it deleted
            the document), with the time by the state's clock.
    """

    newest: dict[str, tuple[bytes | None, float]]

    @abstractmethod
    def size(self) -> int:
        """Return the size of the store in bytes."""


async def salt(state: State) -> bytes:
    """Return 32 random bytes, which the first call creates for all processes of the state.

    They are the key of the hashes of credentials, so that the same credentials have different
    hashes in two states.
    """
    fresh = secrets.token_bytes(_SALT_BYTES)

    def change(value: bytes | None, _: float) -> tuple[bytes, bytes]:
        kept = value if value is not None and len(value) == _SALT_BYTES else fresh
        return kept, kept

    return await state.update(SALT, change)
