"""The state in Redis or Valkey, for the processes of several hosts."""

from __future__ import annotations

import asyncio
import random
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from exporter.errors import StateError
from exporter.state import scripts
from exporter.state.base import RETRY_SECONDS, SALT, Change, Document, Fence, Store
from exporter.state.database import KEPT_SECONDS
from exporter.state.server import Server


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.clock import Clock
    from exporter.state.settings import StateSettings


T = TypeVar("T")

#: How long a change is retried while other processes change the same document.
LIMIT_SECONDS = 5.0

#: The prefix of all keys; the hash tag in braces would keep them on one node of a cluster.
PREFIX = "{loadfleet}:"
CLOCK = f"{PREFIX}clock"
INDEX = f"{PREFIX}keys"
DOCUMENT = f"{PREFIX}document:"

#: The most connections of one process.
_CONNECTIONS = 4

#: How many documents one script reads, so that other clients of the server do not wait long.
_BATCH = 50

#: The first and the longest pause before a change is tried again.
_PAUSES_SECONDS = (0.002, 0.1)

#: By how much this process's estimate of the server's clock is set back at most, per second passed:
#: a slow answer must not set it back much, but it has to follow a slower clock.
_DRIFT = 0.001

#: A larger forward step of the state's clock makes documents look older than they are.
_LEAP_SECONDS = 5.0

_SECOND = 1e6


class RedisState(Store):
    """Documents in Redis or Valkey; used in one event loop.

    If the caller of a change is cancelled or gets a `StateError`, the change may have happened.

    Attributes:
        server: The server.
    """

    backend = "redis"

    def __init__(self, settings: StateSettings, *, clock: Clock) -> None:
        """Prepare the state; nothing is connected yet.

        Args:
            settings: The address of the server and the login.
            clock: The source of time.
        """
        self.newest: dict[str, tuple[bytes | None, float]] = {}
        self.server = Server(settings, clock=clock)
        self._clock = clock
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._beginning = asyncio.Lock()
        self._closed = False
        # The number of failures of the store, and the newest one.
        self._failures = 0
        self._failure = ""
        # The epoch of the data, and whether it was checked since the server's start `_run_id`.
        self._epoch = ""
        self._begun = False
        self._run_id = ""
        self._born = 0.0
        # The state's clock minus the host's, and when the server last returned its time.
        self._ahead: float | None = None
        self._heard_at = 0.0
        self._whole_from = 0.0

    @property
    def whole(self) -> bool:
        """True if the data and the server's process are older than a minute."""
        now = self.now()
        return now is not None and now >= self._whole_from

    @property
    def age_seconds(self) -> float:
        """Seconds since the data were created."""
        return max(0.0, (self.now() or 0.0) - self._born)

    def now(self) -> float | None:
        """Return the state's clock, in seconds; `None` if the server was never reached."""
        return None if self._ahead is None else self._clock.boottime() + self._ahead

    def size(self) -> int:
        """Return the server's memory usage in bytes, by its newest INFO."""
        return int(self.server.info.get("used_memory", 0))

    async def get(self, key: str) -> Document | None:
        """Return the document of a key, `None` if there is none."""

        async def work() -> Document | None:
            now, value, written, _ = await self._call(scripts.GET, [key])
            return None if value is None else _document(value, written, now)

        return await self._run(work)

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        """Write the document of a key, unless a fence does not hold.

        Returns:
            Whether the document was written.
        """
        keys = [key] if fence is None else [key, fence.key]
        prefix = [] if fence is None else [fence.prefix]

        async def work() -> bool:
            now, written = await self._call(scripts.PUT, keys, *_content(key, value), *prefix)
            if written and key in self.newest:
                self.newest[key] = (value, now)
            return bool(written)

        return await self._run(work)

    async def delete(self, key: str) -> None:
        """Delete the document of a key, if there is one."""

        async def work() -> None:
            (now,) = await self._call(scripts.DELETE, [key], key)
            if key in self.newest:
                self.newest[key] = (None, now)

        await self._run(work)

    async def update(self, key: str, change: Change[T]) -> T:
        """Change the document of a key atomically.

        Returns:
            The answer of the change.
        """
        return await self._run(partial(self._update, key, change))

    async def _update(self, key: str, change: Change[T]) -> T:
        now, old, _, token = await self._call(scripts.GET, [key])
        end = self._clock.boottime() + LIMIT_SECONDS
        pause, longest = _PAUSES_SECONDS
        while True:
            value, answer = change(old, now)
            now, changed, *seen = await self._call(
                scripts.SWAP, [key], *_content(key, value or b""), token or b"", int(value is None)
            )
            if changed:
                self.newest[key] = (value, now)
                return answer
            if self._clock.boottime() >= end:
                raise StateError(
                    f"{self.server.place}: other exporters kept changing the same document for"
                    f" {LIMIT_SECONDS:g} s; run fewer exporters on this server"
                )
            old, token = seen
            await self._clock.sleep(random.uniform(0, pause))  # noqa: S311 - no secret
            pause = min(2 * pause, longest)

    async def documents(self, prefix: str) -> dict[str, Document]:
        """Return all documents whose keys begin with a prefix, by key."""
        start = prefix.encode()

        async def work() -> dict[str, Document]:
            # No key contains the byte 255.
            area = (b"[" + start, b"(" + start + b"\xff")
            _, found = await self._call(scripts.NAMES, [], *area)
            names = [name.decode() for name in found]
            documents = {}
            for first in range(0, len(names), _BATCH):
                batch = names[first : first + _BATCH]
                now, contents = await self._call(scripts.DOCUMENTS, batch, *batch)
                for name, (value, written) in zip(batch, contents, strict=True):
                    if value is not None:
                        documents[name] = _document(value, written, now)
            return documents

        return await self._run(work)

    async def aclose(self) -> None:
        """Close the connections, after the operations in progress."""
        if not self._closed:
            self._closed = True
            try:
                for _ in range(_CONNECTIONS):
                    await self._slots.acquire()
            finally:
                await self.server.aclose()

    async def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for a connection and do some work, unless the store failed in the meantime.

        An operation on a server that does not answer fails after seconds. Without this rule the
        queued operations would each wait as long again.
        """
        if self._closed:
            raise StateError("the state is closed")
        failures = self._failures
        async with self._slots:
            if failures != self._failures:
                raise StateError(self._failure)
            try:
                return await work()
            except StateError as error:
                self._failures += 1
                self._failure = str(error)
                raise

    async def _call(self, script: str, names: list[str], *arguments: bytes | str | int) -> Any:
        """Run a script on the data of the known epoch.

        Returns:
            The state's clock, in seconds, and the rest of the script's answer.

        Raises:
            StateError: The server cannot be used, or has lost its data.
        """
        if not self._begun:
            await self._begin()
        epoch = self._epoch
        keys = [CLOCK, INDEX, *(f"{DOCUMENT}{name}" for name in names)]
        answer = await self.server.run(script, keys, epoch, *arguments)
        if answer is None:
            if epoch == self._epoch:
                self._begun = False
                await self._begin()
            raise self._lost()
        return [self._heard(answer[0]), *answer[1:]]

    async def _begin(self) -> None:
        """Read the epoch of the data; without data, write a new epoch."""
        failures = self._failures
        async with self._beginning:
            if failures != self._failures:
                raise StateError(self._failure)
            if self._begun:
                return
            if failures != self._failures:
                raise StateError(self._failure)
            floor = round((self.now() or 0.0) * _SECOND)
            fresh = secrets.token_hex(16)
            answer = await self.server.run(scripts.BEGIN, [CLOCK, INDEX], fresh, floor)
            self._heard(answer[0])
            known, self._epoch = self._epoch, answer[1].decode()
            self._born = int(answer[2]) / _SECOND
            self._doubt(self._born)
            if known:
                await self._restore()
            self._begun = True
        if known not in {"", self._epoch}:
            raise self._lost()

    async def _restore(self) -> None:
        """Write this process's newest documents, unless the server has newer ones."""
        for key, (value, written) in list(self.newest.items()):
            if value is not None:
                keys = [CLOCK, INDEX, f"{DOCUMENT}{key}"]
                content = (*_content(key, value), round(written * _SECOND))
                await self.server.run(scripts.RESTORE, keys, self._epoch, *content)

    def _lost(self) -> StateError:
        return StateError(
            f"{self.server.place}: the store has lost its data; switch its persistence on"
            " (appendonly yes), and do not flush it"
        )

    def _doubt(self, since: float) -> None:
        self._whole_from = max(self._whole_from, since + RETRY_SECONDS)

    def _heard(self, microseconds: int) -> float:
        """Follow the state's clock, and return it in seconds."""
        now, at = microseconds / _SECOND, self._clock.boottime()
        ahead = now - at
        if self._ahead is not None:
            if ahead - self._ahead > _LEAP_SECONDS:
                self._doubt(now)
            ahead = max(ahead, self._ahead - _DRIFT * (at - self._heard_at))
        self._ahead, self._heard_at = ahead, at
        run_id = self.server.info.get("run_id", "")
        if self._run_id not in {"", run_id}:
            # Another server has taken over, or this one has restarted: some writes may be lost.
            self._doubt(now)
            self._begun = False
        self._run_id = run_id
        return now


def _content(key: str, value: bytes) -> tuple[str, bytes, str, int]:
    """Return the scripts' arguments: name, value, a new token, and the seconds to keep it."""
    return key, value, secrets.token_hex(8), 0 if key == SALT else int(KEPT_SECONDS)


def _document(value: bytes, written: bytes, now: float) -> Document:
    return Document(value=value, age_seconds=max(0.0, now - int(written) / _SECOND))
