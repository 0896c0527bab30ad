"""The store of the history: a file that one process writes, or memory if there is no file."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing, suppress
from enum import StrEnum, unique
from typing import TYPE_CHECKING, TypeVar

import structlog

from exporter.errors import StateError
from exporter.history import tables
from exporter.history.records import HOUR, Batch
from exporter.state.database import connect, explained, tune
from exporter.state.schema import DamagedError, is_damage


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from exporter.history.records import Known, Records, TargetKey
    from exporter.state.place import Place


T = TypeVar("T")

#: Seconds after a failure until the file is tried again.
RETRY_SECONDS = 600.0

#: The share of the largest size that is kept free, so that a batch finds room.
_RESERVE = 1 / 16

_PAGE_BYTES = 4096

#: The largest size of a history in memory: ten days of 10,000 targets.
MEMORY_BYTES = 64 * 2**20

#: The most days that are deleted to make room for one batch.
_DAYS_AT_ONCE = 3


@unique
class Role(StrEnum):
    """The role of this process.

    `WRITER` writes the file; `READER` reads a file that another process writes; `MEMORY` keeps the
    history in memory, as no file can be used.
    """

    WRITER = "writer"
    READER = "reader"
    MEMORY = "memory"


class Database:
    """The history's file, or memory in its place; used by one thread.

    Attributes:
        role: The role of this process, `None` before the file is opened.
        begun: The Unix time at which the history in memory begins.
    """

    def __init__(
        self,
        place: Place | None,
        *,
        keep_seconds: float,
        max_bytes: int,
        time: Callable[[], float],
        known: Callable[[], list[Known]] = list,
    ) -> None:
        """Prepare the database; the file is not touched yet.

        Args:
            place: The file; if `None`, the history is kept in memory.
            keep_seconds: The age beyond which records are deleted.
            max_bytes: The largest size of the file.
            time: Returns the Unix time.
            known: Returns the newest transition of each target, with which a replacement for a
                lost file begins.
        """
        self.place = place
        self.role: Role | None = None
        self.begun = 0.0
        self._keep_seconds = keep_seconds
        self._max_pages = self._pages = max_bytes // _PAGE_BYTES
        self._time = time
        self._known = known
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._lock = ExitStack()
        self._failed = 0.0
        self._pruned = 0
        self._log = structlog.get_logger("exporter.history")

    @property
    def stands_in(self) -> bool:
        """True if memory replaces a file that cannot be used, so that the past is missing."""
        return self.role is Role.MEMORY and self.place is not None

    def open(self) -> list[Known]:
        """Open the file, or use memory in its place.

        Returns:
            The newest transition of each target if this process is the writer, else an empty list.
        """
        if self.place is None:
            return self._use_memory([])
        try:
            return self._open(self.place)
        except (StateError, sqlite3.Error, OSError) as error:
            return self._use_memory([], error)

    def again(self) -> list[Known] | None:
        """Try to become the writer, if another process was, or if the file could not be used.

        Returns:
            As for `open`, if this process takes over from another one; else `None`.
        """
        if self.role is Role.MEMORY:
            self._back_to_file()
            return None
        if self.role is Role.WRITER:
            return None
        known = self.open()
        return known if self._connection is not None else None

    def write(self, batch: Batch) -> None:
        """Add a batch; if it cannot be written to the file, it is kept in memory.

        Raises:
            sqlite3.Error: The memory is full although only the newest day is left in it.
        """
        if self.role is Role.WRITER:
            try:
                self._write(lambda: [batch])
            except (StateError, sqlite3.Error, OSError) as error:
                self._use_memory(self._known(), error)
            else:
                return
        self._fit(lambda: [batch])

    def read(self, target: TargetKey, *, hours: range) -> Records | None:
        """Return the records of a target, `None` if the target is not known.

        Raises:
            StateError: The history cannot be read.
        """
        return self.using(lambda connection: tables.read(connection, target, hours=hours))

    def using(self, job: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the result of a job, `None` if there is no file yet.

        Args:
            job: Reads from the connection that it is given.

        Raises:
            StateError: The history cannot be read.
        """
        try:
            if self._connection is not None:
                return job(self._connection)
            if self.place is None or self.place.identity() is None:
                return None
            with closing(connect(f"{self.place.file.as_uri()}?mode=ro")) as connection:
                return job(connection)
        except (sqlite3.Error, ValueError) as error:
            if self.place is None or not isinstance(error, sqlite3.Error):
                raise StateError(f"the history cannot be read: {error}") from error
            raise explained(self.place.file, error) from error

    def close(self) -> None:
        """Close the file and release its lock, so that another process can write it."""
        self._disconnect()
        self.role = None

    def _open(self, place: Place) -> list[Known]:
        self._disconnect()
        place.check()
        if not self._lock.enter_context(place.held()):
            self._lock.close()
            if self.role is not Role.READER:
                self._log.info(
                    "history_read_only",
                    message="another process writes the file; this one takes over when that ends",
                    file=str(place.file),
                )
            self.role = Role.READER
            return []
        try:
            known = self._open_file(place)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._set_aside(place, error)
            known = self._open_file(place)
        if self.role is Role.READER:
            self._log.info("history_taken_over", file=str(place.file))
        self.role = Role.WRITER
        return known

    def _open_file(self, place: Place) -> list[Known]:
        place.make()
        connection = connect(place.file)
        try:
            tune(connection)
            tables.prepare(connection)
            self._limit(connection, self._max_pages)
            known = tables.newest(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, ValueError):  # a value that this program never writes
                raise DamagedError(str(error)) from error
            raise
        self._connection, self._identity = connection, place.identity()
        return known

    def _limit(self, connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")
        self._pages = pages

    def _write(self, batches: Callable[[], Iterable[Batch]]) -> None:
        place = self.place
        assert place is not None  # noqa: S101 - a writer has a file
        if place.identity() != self._identity:
            self._reopen(place)
        try:
            self._fit(batches)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._set_aside(place, error)
            self._reopen(place)
            self._fit(batches)

    def _fit(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Write batches, and make room for them if the file has its largest size.

        The batches are written last, so that none of them is written if a step fails.
        """
        connection = self._connection
        assert connection is not None  # noqa: S101 - a writer has one
        self._prune(connection)
        if tables.pages(connection) > self._pages * (1 - _RESERVE):
            self._drop_oldest_day(connection)
        for more in reversed(range(_DAYS_AT_ONCE)):
            try:
                tables.write(connection, batches())
            except sqlite3.Error as error:
                full = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
                full = full and more > 0 and not self._is_disk_full(connection)
                if not full or not self._drop_oldest_day(connection):
                    raise
            else:
                break

    def _is_disk_full(self, connection: sqlite3.Connection) -> bool:
        """Return whether the disk is full before the file has its largest size."""
        if self.role is Role.MEMORY or self.place is None:
            return False
        room = (self._pages - tables.pages(connection)) * _PAGE_BYTES
        return self.place.free() < room

    def _drop_oldest_day(self, connection: sqlite3.Connection) -> bool:
        oldest = tables.oldest_hour(connection)
        if oldest is None or oldest >= int(self._time()) // HOUR - 24:
            return False  # the newest day is never deleted
        end = (oldest // 24 + 1) * 24
        while tables.prune(connection, end * HOUR):
            pass
        self._log.warning(
            "history_full",
            message="the file has its largest size, so its oldest day is deleted; raise"
            " history.max_bytes, or lower history.keep",
            file=str(self.place.file if self.place else ""),
        )
        return True

    def _prune(self, connection: sqlite3.Connection) -> None:
        """Delete some records that are too old; once none is left, wait for the next hour."""
        hour = int(self._time()) // HOUR
        if hour != self._pruned and not tables.prune(connection, self._time() - self._keep_seconds):
            self._pruned = hour

    def _reopen(self, place: Place) -> None:
        self._open(place)
        if self.role is not Role.WRITER:
            raise StateError(f"{place.file} was replaced, and another process writes it")
        if self._connection is not None:
            tables.write(self._connection, [_as_batch(self._known())])

    def _use_memory(self, known: list[Known], error: Exception | None = None) -> list[Known]:
        """Continue in memory, beginning with the newest known transitions."""
        if error is not None:
            if isinstance(error, sqlite3.Error) and self.place is not None:
                error = explained(self.place.file, error)
            self._log.warning(
                "history_in_memory",
                message=f"{error}; the history is kept in memory until the file can be used",
                retry_seconds=RETRY_SECONDS,
            )
        self._disconnect()
        self._connection = connect(":memory:")
        tables.prepare(self._connection)
        self._limit(self._connection, MEMORY_BYTES // _PAGE_BYTES)
        self.role, self.begun, self._failed = Role.MEMORY, self._time(), self._time()
        tables.write(self._connection, [_as_batch(known)])
        return known

    def _back_to_file(self) -> None:
        memory, place = self._connection, self.place
        if place is None or memory is None or abs(self._time() - self._failed) < RETRY_SECONDS:
            return
        self._failed = self._time()
        self._connection = None  # `memory` stays open until its contents are in the file
        try:
            self._open(place)
            if self.role is Role.WRITER:
                self._write(lambda: tables.everything(memory))
        except (StateError, sqlite3.Error, OSError):
            self._disconnect()
            self._connection, self.role = memory, Role.MEMORY
            return
        memory.close()
        self._log.info("history_in_file", file=str(place.file))

    def _set_aside(self, place: Place, error: sqlite3.Error) -> None:
        self._close()
        kept = place.set_aside(self._time())
        self._log.warning(
            "history_set_aside",
            message=f"the file is damaged or foreign ({error}); a new one replaces it",
            kept_as=str(kept),
        )

    def _disconnect(self) -> None:
        self._close()
        self._lock.close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _as_batch(known: list[Known]) -> Batch:
    batch = Batch()
    for each in known:
        batch.tasks[each.key] = each.task
        batch.transitions.append((each.key, each.transition))
    return batch
