"""The SQLite file of the state: opens it, opens it again if replaced, renames it if damaged."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from exporter.clock import LATEST_UNIX
from exporter.errors import StateError
from exporter.state import schema
from exporter.state.base import SALT
from exporter.state.hostclock import Offset


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter.state.hostclock import HostClock
    from exporter.state.place import Place


T = TypeVar("T")

#: How long a change waits for changes of other processes.
BUSY_SECONDS = 5.0

#: The file's largest size, in pages of 4096 bytes: 1 GiB.
MAX_PAGES = 2**18

#: Documents that were not written for this long are deleted.
KEPT_SECONDS = 30 * 86400.0

#: Interval between two deletions of old documents.
TIDY_SECONDS = 3600.0

#: SQLite truncates its write-ahead log only while no process uses the file. In case that never
#: happens, the log is checked after this many changes, and truncated if it is larger than this.
_LOG_CHANGES = 1000
_LOG_BYTES = 2**26

#: Messages with a remedy, by the primary code of SQLite's error.
_REMEDIES = {
    sqlite3.SQLITE_BUSY: f"another process has locked the file for {BUSY_SECONDS:.0f} s; end that"
    " process",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; let the exporter's user write to its"
    " folder",
    sqlite3.SQLITE_FULL: "the disk is full, or the file has its largest size; free some space",
    sqlite3.SQLITE_IOERR: "the disk is full, or cannot be read or written; check the disk",
    sqlite3.SQLITE_PERM: "the file cannot be written; let the exporter's user write to it",
    sqlite3.SQLITE_READONLY: "the file cannot be written; let the exporter's user write to it and"
    " its folder",
}


class _MovedError(Exception):
    """The path names another file than the open one, or the file's schema has changed."""


class Database:
    """The file and the connection to it; opened at the first use, and used by one thread.

    A process that finds the file damaged renames it. The others notice that the path names another
    file, and open that file.
    """

    def __init__(
        self,
        place: Place,
        *,
        host: HostClock,
        max_pages: int = MAX_PAGES,
        restore: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        """Prepare the database; nothing is opened yet.

        Args:
            place: The folder of the file.
            host: The host's clocks, from which the state's clock is made.
            max_pages: The file's largest size, in pages of 4096 bytes.
            restore: Writes this process's newest documents into a file that replaces another.
        """
        self.place = place
        self._host = host
        self._max_pages = max_pages
        self._restore = restore
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._offset: Offset | None = None
        self._tidied = 0.0
        self._changes = 0
        self._log = structlog.get_logger("exporter.state").bind(file=str(place.file))

    def read(self, work: Callable[[sqlite3.Connection, float], T]) -> T:
        """Call `work` with the connection and the state's clock.

        Returns:
            The result of `work`.

        Raises:
            StateError: The file cannot be used.
        """
        return self._run(lambda connection: work(connection, self._now()))

    def write(self, work: Callable[[sqlite3.Connection, float], T]) -> T:
        """Call `work` as `read` does, within a transaction.

        Returns:
            The result of `work`.

        Raises:
            StateError: The file cannot be used; nothing was changed.
        """
        return self._run(partial(self._transaction, work))

    def now(self) -> float | None:
        """Return the state's clock, in seconds; `None` if the file was never opened."""
        return None if self._offset is None else self._now()

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        for more in (2, 1, 0):
            connection = self._ready()
            try:
                return job(connection)
            except _MovedError as error:
                self.close()
                if not more:
                    raise StateError(f"{self.place.file}: the file keeps being replaced") from error
            except sqlite3.Error as error:
                self.close()
                if not more or not self._helped(error):
                    raise explained(self.place.file, error) from error
        raise AssertionError  # unreachable: the last turn of the loop returns or raises

    def _helped(self, error: sqlite3.Error) -> bool:
        """Return whether to try again; set a damaged file aside first."""
        if self.place.identity() != self._identity:
            return True
        if not schema.is_damage(error):
            # A newer version of the exporter, or another program, has changed the tables.
            return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
        with self.place.locked():
            if self.place.identity() == self._identity:
                self._set_aside(error)
        return True

    def _ready(self) -> sqlite3.Connection:
        if self._connection is not None and self.place.identity() != self._identity:
            self.close()
        if self._connection is not None:
            return self._connection
        self.place.check()
        try:
            with self.place.locked():
                return self._open()
        except sqlite3.Error as error:
            raise explained(self.place.file, error) from error

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.Error as error:
            if not schema.is_damage(error):
                raise
            self._set_aside(error)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self.place.make()
        identity = self.place.identity()
        connection = connect(self.place.file)
        try:
            tune(connection)
            schema.prepare(connection)
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
            with schema.transaction(connection):
                self._set_clock(connection)
                if self._restore is not None and self._identity not in {None, identity}:
                    self._restore(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._identity = connection, identity
        return connection

    def _set_clock(self, connection: sqlite3.Connection) -> None:
        kept, newest = clock_of(connection)
        self._offset = self._host.offset(kept, max(newest, self.now() or 0.0))
        if self._offset != kept:
            _set_meta(connection, "boot_id", self._offset.boot_id)
            _set_meta(connection, "offset", self._offset.seconds)

    def _transaction(
        self, work: Callable[[sqlite3.Connection, float], T], connection: sqlite3.Connection
    ) -> T:
        with schema.transaction(connection):
            self._expect_ours(connection)
            now = self._now()
            if now - self._tidied >= TIDY_SECONDS:
                tidy(connection, now)
                self._tidied = now
            result = work(connection, now)
        self._changes += 1
        if self._changes % _LOG_CHANGES == 0:
            self._empty_log(connection)
        return result

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        # An error here loses no data, and the next check tries again.
        with suppress(OSError, sqlite3.Error):
            if self.place.wal.stat().st_size > _LOG_BYTES:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _expect_ours(self, connection: sqlite3.Connection) -> None:
        moved = self.place.identity() != self._identity
        if moved or schema.user_version(connection) != schema.VERSION:
            raise _MovedError

    def _now(self) -> float:
        assert self._offset is not None  # noqa: S101 - known since the file was opened
        return self._host.boottime() + self._offset.seconds

    def _set_aside(self, error: sqlite3.Error) -> None:
        target = self.place.set_aside(self._host.time())
        self._log.warning(
            "state_set_aside",
            message=f"the file is damaged or foreign ({error}); a new one replaces it",
            kept_as=str(target),
        )


def connect(database: Path | str) -> sqlite3.Connection:
    """Return a connection to a file, given by its path or a URI; it waits for other processes."""
    return sqlite3.connect(
        database,
        uri=isinstance(database, str),
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def tune(connection: sqlite3.Connection) -> None:
    """Set a file's durability: changes survive a crash of the process, if not of the machine."""
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 16777216")


def explained(file: Path, error: sqlite3.Error) -> StateError:
    """Return the error that says why a file cannot be used, with the remedy."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return StateError(f"{file}: {_REMEDIES.get(code, str(error))}")


def clock_of(connection: sqlite3.Connection) -> tuple[Offset | None, float]:
    """Return the offset of the state's clock and the newest stamp.

    Raises:
        DamagedError: The offset or the stamp is damaged.
    """
    meta = {
        name: schema.checked(name, 0.0, checksum, value)[0]
        for name, checksum, value in connection.execute("SELECT name, checksum, value FROM meta")
    }
    (written,) = connection.execute("SELECT max(written) FROM documents").fetchone()
    kept = None
    try:
        if {"boot_id", "offset"} <= meta.keys():
            kept = Offset(boot_id=meta["boot_id"].decode(), seconds=float(meta["offset"]))
        newest = max(written or 0.0, float(meta.get("newest", 0.0)))
    except (TypeError, ValueError) as error:
        raise schema.DamagedError("its clock cannot be read") from error
    if newest > LATEST_UNIX or (kept is not None and not abs(kept.seconds) <= LATEST_UNIX):
        raise schema.DamagedError("a document has an impossible time")
    return kept, newest


def tidy(connection: sqlite3.Connection, now: float) -> None:
    """Delete documents not written for `KEPT_SECONDS`, except the salt, which is written once."""
    connection.execute(
        "DELETE FROM documents WHERE written < ? AND key != ?", (now - KEPT_SECONDS, SALT)
    )
    stamp(connection, now)


def stamp(connection: sqlite3.Connection, now: float) -> None:
    """Save the time: the clock continues from there, also if the newest document was deleted."""
    _set_meta(connection, "newest", now)


def _set_meta(connection: sqlite3.Connection, name: str, value: str | float) -> None:
    content = str(value).encode()
    connection.execute(
        "INSERT OR REPLACE INTO meta (name, checksum, value) VALUES (?, ?, ?)",
        (name, schema.checksum(name, 0.0, content), content),
    )
