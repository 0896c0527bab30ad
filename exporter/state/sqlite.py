"""The state in an SQLite file, for the processes of one host."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from exporter.errors import StateError
from exporter.state.base import Change, Document, Fence, Store
from exporter.state.database import MAX_PAGES, Database, stamp
from exporter.state.schema import READ, checked, checksum


if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from exporter.state.hostclock import HostClock
    from exporter.state.place import Place


T = TypeVar("T")

#: Time limit of an operation, longer than the limits of the file's locks.
LIMIT_SECONDS = 30.0

_WRITE = "INSERT OR REPLACE INTO documents (key, written, checksum, value) VALUES (?, ?, ?, ?)"


class SqliteState(Store):
    """Documents in an SQLite file, which is opened at the first use.

    One thread does all the work. If the caller of a change is cancelled, the change still happens.
    """

    backend = "sqlite"

    def __init__(
        self,
        place: Place,
        *,
        host: HostClock,
        max_pages: int = MAX_PAGES,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        """Prepare the state; nothing is opened yet.

        Args:
            place: The folder of the file.
            host: The host's clocks, from which the state's clock is made.
            max_pages: The file's largest size, in pages of 4096 bytes.
            limit_seconds: Time limit of an operation, for a disk that does not answer.
        """
        self._limit_seconds = limit_seconds
        self.newest: dict[str, tuple[bytes | None, float]] = {}
        self._database = Database(place, host=host, max_pages=max_pages, restore=self._restore)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._closed = False
        # The number of failures of the store, and the newest one.
        self._failures = 0
        self._failure = ""

    async def get(self, key: str) -> Document | None:
        """Return the document of a key, `None` if there is none."""

        def work(connection: sqlite3.Connection, now: float) -> Document | None:
            return _document(connection, key, now)

        return await self._in_worker(partial(self._database.read, work))

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        """Write the document of a key, unless a fence does not hold.

        Returns:
            Whether the document was written.
        """
        return await self._in_worker(partial(self._write, key, value, fence))

    async def delete(self, key: str) -> None:
        """Delete the document of a key, if there is one."""
        await self._in_worker(partial(self._write, key, None))

    async def update(self, key: str, change: Change[T]) -> T:
        """Change the document of a key atomically.

        Returns:
            The answer of the change.
        """

        def work(connection: sqlite3.Connection, now: float) -> tuple[bytes | None, float, T]:
            known = _document(connection, key, now)
            value, answer = change(None if known is None else known.value, now)
            _put(connection, now, key=key, value=value)
            return value, now, answer

        def job() -> T:
            value, now, answer = self._database.write(work)
            # Only after the commit, which may fail.
            self.newest[key] = (value, now)
            return answer

        return await self._in_worker(job)

    async def documents(self, prefix: str) -> dict[str, Document]:
        """Return all documents whose keys begin with a prefix, by key."""

        def work(connection: sqlite3.Connection, now: float) -> dict[str, Document]:
            found = {}
            for row in connection.execute(f"{READ} WHERE key >= ? ORDER BY key", (prefix,)):
                document = as_document(row, now)
                if not row[0].startswith(prefix):
                    break
                found[row[0]] = document
            return found

        return await self._in_worker(partial(self._database.read, work))

    def now(self) -> float | None:
        """Return the state's clock, in seconds; `None` if the file was never opened."""
        return self._database.now()

    def size(self) -> int:
        """Return the size of the file and of SQLite's files beside it, in bytes."""
        return self._database.place.size()

    async def aclose(self) -> None:
        """Close the file, after the changes in progress."""
        if not self._closed:
            self._closed = True
            # Not awaited itself: a time-out would remove an awaited job from the queue.
            self._worker.submit(self._database.close)
            with suppress(StateError):
                await self._waited_for(lambda: None)
            self._worker.shutdown(wait=False)

    async def _in_worker(self, job: Callable[[], T]) -> T:
        if self._closed:
            raise StateError("the state is closed")
        return await self._waited_for(partial(self._unless_failed, job, self._failures))

    async def _waited_for(self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(self._limit_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except TimeoutError:
            raise StateError(
                f"{self._database.place.file}: the disk has not answered for"
                f" {self._limit_seconds:g} s; check the disk"
            ) from None

    def _unless_failed(self, job: Callable[[], T], failures: int) -> T:
        """Run a queued job, unless the store failed while the job was queued.

        An operation on a locked file fails after seconds. Without this rule the queued jobs would
        each wait as long again.

        Args:
            job: The job.
            failures: The number of failures when the job was queued.

        Raises:
            StateError: The store cannot be used, or failed while the job was queued.
        """
        if failures != self._failures:
            raise StateError(self._failure)
        try:
            return job()
        except StateError as error:
            self._failures += 1
            self._failure = str(error)
            raise

    def _write(self, key: str, value: bytes | None, fence: Fence | None = None) -> bool:
        def work(connection: sqlite3.Connection, now: float) -> float | None:
            if fence is not None:
                other = _document(connection, fence.key, now)
                if other is None or not other.value.startswith(fence.prefix):
                    return None
            _put(connection, now, key=key, value=value)
            return now

        written = self._database.write(work)
        if written is not None and key in self.newest:
            self.newest[key] = (value, written)
        return written is not None

    def _restore(self, connection: sqlite3.Connection) -> None:
        """Write this process's newest documents into a new file, unless it has newer ones."""
        for key, (value, written) in self.newest.items():
            kept = connection.execute("SELECT written FROM documents WHERE key = ?", (key,))
            if value is not None and written > (kept.fetchone() or [0.0])[0]:
                _put(connection, written, key=key, value=value)


def as_document(row: tuple[object, ...], now: float) -> Document:
    """Return the document of a row: key, time, checksum, value.

    Raises:
        DamagedError: The row is damaged.
    """
    value, written = checked(*row)
    return Document(value=value, age_seconds=max(0.0, now - written))


def _document(connection: sqlite3.Connection, key: str, now: float) -> Document | None:
    row = connection.execute(f"{READ} WHERE key = ?", (key,)).fetchone()
    return None if row is None else as_document(row, now)


def _put(connection: sqlite3.Connection, now: float, *, key: str, value: bytes | None) -> None:
    if value is None:
        connection.execute("DELETE FROM documents WHERE key = ?", (key,))
        stamp(connection, now)
    else:
        connection.execute(_WRITE, (key, now, checksum(key, now, value), value))
