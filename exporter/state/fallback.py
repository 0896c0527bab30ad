"""The state that goes on in memory while its store cannot be used."""

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

#: A key that nobody uses: to delete it shows whether the store takes changes again.
_PROBE = "probe"


class FallbackState(State):
    """A store, or memory while the store cannot be used.

    What `update` of this process wrote last goes over into memory, and back into the store unless
    others have changed it there meanwhile.

    Attributes:
        backend: Of what is used now.
    """

    def __init__(
        self, store: Store, *, clock: Clock, telemetry: SelfMetrics, expected: bool = False
    ) -> None:
        """Prepare the state; the store is not used yet.

        Args:
            store: What is used where it can be.
            clock: Where time comes from.
            telemetry: Where operations are counted.
            expected: Whether nobody has asked for this store, so that nothing is wrong without it.
        """
        self.backend = store.backend
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._log = structlog.get_logger("exporter.state")
        self._level = "info" if expected else "warning"
        self._memory: MemoryState | None = None
        # What the store has of the keys that are changed in memory, as far as this process knows.
        self._same_clock = False
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
        """The store alone, without memory in its place."""
        return self._shared

    @property
    def whole(self) -> bool:
        """True if the store is used, and nothing of the last minute can be missing in it."""
        return self._memory is None and self._store.whole

    def now(self) -> float | None:
        """Return the state's clock, in seconds; `None` if the store was never reached."""
        return self._store.now() if self._memory is None else self._memory.now()

    async def get(self, key: str) -> Document | None:
        """Return the document of a key, `None` if there is none."""
        return await self._run(lambda state: state.get(key))

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        """Write the document of a key, unless a fence does not hold."""
        return await self._run(lambda state: state.put(key, value, fence=fence))

    async def delete(self, key: str) -> None:
        """Delete the document of a key, if there is one."""
        await self._run(lambda state: state.delete(key))

    async def update(self, key: str, change: Change[T]) -> T:
        """Change the document of a key as one step: no other change comes between."""
        return await self._run(lambda state: state.update(key, change))

    async def documents(self, prefix: str) -> dict[str, Document]:
        """Return all documents whose keys begin with a prefix, by key."""
        return await self._run(lambda state: state.documents(prefix))

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()

    async def _follow(self) -> None:
        """Go back to the store, if it is time to, where others have found that it can be used."""
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
        """Go over to memory, unless another operation has done so."""
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
        # A copy: the store's thread may write to it at this moment.
        newest = dict(self._store.newest)
        self._kept = {key: value for key, (value, _) in newest.items()}
        self._memory = MemoryState(self._clock_of_memory(), newest)

    def _clock_of_memory(self) -> Callable[[], float]:
        """Return the store's clock, or one like it if it was never reached."""
        offset = self._clock.time() - self._clock.boottime()

        def now() -> float:
            known = self._store.now()
            return self._clock.boottime() + offset if known is None else known

        return now

    async def _try_to_return(self) -> None:
        """Go back to the store if it is time to try and it can be used again."""
        if self._clock.monotonic() < self._retry_at:
            return
        # Set first: others that come meanwhile go on in memory.
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        try:
            await self._store.delete(_PROBE)
            # A change that comes meanwhile is one more; between the last look and the return to the
            # store nobody else has a turn.
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
        """Return what was changed in memory and is not yet in the store."""
        if self._memory is None or not self._same_clock:
            return {}
        return {
            key: value
            for key, (value, _) in self._memory.newest.items()
            if key not in self._kept or value != self._kept[key]
        }


class _Counted(State):
    """A store whose operations are counted."""

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
        """Leave the store open: it is closed by who has made it."""

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
    """Write ours over what was there when the store was left; what others wrote since stays.

    A document that is gone was lost by the store, or had been deleted as ours then is.
    """
    return (ours if value in (was, None) else value), None
