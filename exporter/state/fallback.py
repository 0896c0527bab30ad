"""A state that uses memory while its store cannot be used."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from exporter.errors import StateError
from exporter.metrics import own
from exporter.state.base import RETRY_SECONDS, Change, Document, Fence, State
from exporter.state.memory import MemoryState


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.clock import Clock
    from exporter.metrics.telemetry import SelfMetrics
    from exporter.state.base import Store


T = TypeVar("T")

#: A key without a document: deleting it shows whether the store accepts changes again.
_PROBE = "probe"


class FallbackState(State):
    """A store, or memory while the store cannot be used.

    The documents that `update` of this process wrote last are copied into memory. When the store
    can be used again, changed ones are copied back, unless another process has changed them there
    in the meantime.

    Attributes:
        backend: The backend in use: the store's, or memory's.
    """

    def __init__(
        self, store: Store, *, clock: Clock, telemetry: SelfMetrics, expected: bool = False
    ) -> None:
        """Prepare the state; the store is not used yet.

        Args:
            store: The store to use while it works.
            clock: The source of time.
            telemetry: Counts the operations.
            expected: Whether a failure is expected, because no setting names the store; it is then
                logged as information and not as a warning.
        """
        self.backend = store.backend
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._log = structlog.get_logger("exporter.state")
        self._level = "info" if expected else "warning"
        self._memory: MemoryState | None = None
        #: True if the memory's clock continues the store's, so that documents can be copied back.
        self._same_clock = False
        #: The newest known contents in the store of the documents copied into memory.
        self._kept: dict[str, bytes | None] = {}
        self._retry_at = 0.0
        self._cause = ""
        self._shared = _Counted(store, telemetry, self._follow)
        telemetry[own.STATE_UP].labels(store.backend).set(1)
        telemetry[own.STATE_SIZE].labels(store.backend).set_function(store.size)
        for family in (own.STATE_OPERATIONS, own.STATE_OPERATION_FAILURES):
            for backend in (store.backend, MemoryState.backend):
                telemetry[family].labels(backend)

    @property
    def shared(self) -> State:
        """The store without the fallback to memory."""
        return self._shared

    @property
    def whole(self) -> bool:
        """True if the store is used, and no write of the last minute can be missing in it."""
        return self._memory is None and self._store.whole

    def now(self) -> float | None:
        """Return the state's clock, in seconds; `None` if the store was never reached."""
        return self._store.now() if self._memory is None else self._memory.now()

    async def get(self, key: str) -> Document | None:
        """Return the document of a key, `None` if there is none."""
        return await self._run(lambda state: state.get(key))

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        """Write the document of a key, unless a fence does not hold.

        Returns:
            Whether the document was written.
        """
        return await self._run(lambda state: state.put(key, value, fence=fence))

    async def delete(self, key: str) -> None:
        """Delete the document of a key, if there is one."""
        await self._run(lambda state: state.delete(key))

    async def update(self, key: str, change: Change[T]) -> T:
        """Change the document of a key atomically.

        Returns:
            The answer of the change.
        """
        return await self._run(lambda state: state.update(key, change))

    async def documents(self, prefix: str) -> dict[str, Document]:
        """Return all documents whose keys begin with a prefix, by key."""
        return await self._run(lambda state: state.documents(prefix))

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()

    async def _follow(self) -> None:
        """Return to the store if it is time to; called when an operation on the store succeeded."""
        if self._memory is not None:
            await self._try_to_return()

    async def _run(self, operation: Callable[[State], Awaitable[T]]) -> T:
        await self._follow()
        if self._memory is None:
            try:
                answer = await operation(self._store)
            except StateError as error:
                self._failed(error)
            else:
                self._telemetry[own.STATE_OPERATIONS].labels(self._store.backend).inc()
                return answer
        assert self._memory is not None  # noqa: S101 - set where an operation has failed
        self._telemetry[own.STATE_OPERATIONS].labels(MemoryState.backend).inc()
        return await operation(self._memory)

    def _failed(self, error: StateError) -> None:
        """Switch to memory, unless another operation has done so."""
        self._telemetry[own.STATE_OPERATION_FAILURES].labels(self._store.backend).inc()
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        if str(error) != self._cause:
            self._cause = str(error)
            getattr(self._log, self._level)("state_in_memory", message=self._cause)
        if self._memory is not None:
            return
        self.backend = MemoryState.backend
        self._telemetry[own.STATE_UP].labels(self._store.backend).set(0)
        self._same_clock = self._store.now() is not None
        # A copy, because the store's thread may change the original at this moment.
        newest = dict(self._store.newest)
        self._kept = {key: value for key, (value, _) in newest.items()}
        self._memory = MemoryState(self._clock_of_memory(), newest)

    def _clock_of_memory(self) -> Callable[[], float]:
        """Return the store's clock; if the store was never reached, the time of this host."""
        offset = self._clock.time() - self._clock.boottime()

        def now() -> float:
            known = self._store.now()
            return self._clock.boottime() + offset if known is None else known

        return now

    async def _try_to_return(self) -> None:
        """Return to the store if it is time to try and the store can be used again."""
        if self._clock.monotonic() < self._retry_at:
            return
        # Set before the first await, so that concurrent operations stay in memory.
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        try:
            await self._store.delete(_PROBE)
            # Memory may change while this loop waits for the store. After the last check there is
            # no await before the return to the store, so no change is lost.
            while unsaved := self._unsaved():
                for key, value in unsaved.items():
                    back = partial(_unless_changed, was=self._kept.get(key), ours=value)
                    await self._store.update(key, back)
                    self._kept[key] = value
        except StateError as error:
            self._failed(error)
            return
        self._memory = None
        self._cause = ""
        self.backend = self._store.backend
        self._telemetry[own.STATE_UP].labels(self._store.backend).set(1)
        self._log.info("state_recovered", message="the store of the state is used again")

    def _unsaved(self) -> dict[str, bytes | None]:
        """Return the documents that were changed in memory and are not yet in the store."""
        if self._memory is None or not self._same_clock:
            return {}
        return {
            key: value
            for key, (value, _) in self._memory.newest.items()
            if key not in self._kept or value != self._kept[key]
        }


class _Counted(State):
    """A store that counts its operations and calls `used` after each success."""

    def __init__(
        self, store: Store, telemetry: SelfMetrics, used: Callable[[], Awaitable[None]]
    ) -> None:
        self.backend = store.backend
        self._store = store
        self._used = used
        self._operations = telemetry[own.STATE_OPERATIONS].labels(store.backend)
        self._failures = telemetry[own.STATE_OPERATION_FAILURES].labels(store.backend)

    @property
    def whole(self) -> bool:
        return self._store.whole

    def now(self) -> float | None:
        return self._store.now()

    async def get(self, key: str) -> Document | None:
        return await self._count(self._store.get(key))

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        return await self._count(self._store.put(key, value, fence=fence))

    async def delete(self, key: str) -> None:
        await self._count(self._store.delete(key))

    async def update(self, key: str, change: Change[T]) -> T:
        return await self._count(self._store.update(key, change))

    async def documents(self, prefix: str) -> dict[str, Document]:
        return await self._count(self._store.documents(prefix))

    async def aclose(self) -> None:
        """Leave the store open: the `FallbackState` closes it."""

    async def _count(self, operation: Awaitable[T]) -> T:
        try:
            answer = await operation
        except StateError:
            self._failures.inc()
            raise
        self._operations.inc()
        await self._used()
        return answer


def _unless_changed(
    value: bytes | None, _: float, *, was: bytes | None, ours: bytes | None
) -> tuple[bytes | None, None]:
    """Return this process's content, unless another process has changed the document since.

    A missing document counts as unchanged, because the store may have lost it.
    """
    return (ours if value in (was, None) else value), None
