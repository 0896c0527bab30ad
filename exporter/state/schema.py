"""The tables of the SQLite store: making and migrating them, and knowing them from foreign ones.

The checks and statements that the history's file needs too are here as well.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from exporter.clock import LATEST_UNIX
from exporter.errors import StateError


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


#: In the header of each file of ours.
APPLICATION_ID = 0x4C464553

#: The statements that bring a file from the version of their place to the next.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE meta (
            name TEXT PRIMARY KEY,
            checksum INTEGER NOT NULL,
            value BLOB NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE documents (
            key TEXT PRIMARY KEY,
            written REAL NOT NULL,
            checksum INTEGER NOT NULL,
            value BLOB NOT NULL
        ) WITHOUT ROWID""",
    ),
)

VERSION = len(MIGRATIONS)

TABLES = frozenset({"meta", "documents"})

#: Reads documents, in the order of their keys.
READ = "SELECT key, written, checksum, value FROM documents"

#: Larger files are not read through when they are opened; it would take long.
CHECKED_BYTES = 64 * 2**20

#: Why a file is foreign although its header is ours.
FOREIGN_TABLES = "its tables are not ours"


class DamagedError(sqlite3.DatabaseError):
    """The file is not what we have written: damaged or foreign."""


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the file is damaged or foreign."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Text that is not UTF-8 has no code.
        return isinstance(error, DamagedError | sqlite3.OperationalError)
    # Newer versions of SQLite tell so of a file that ends within a page.
    if code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return True
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def prepare(connection: sqlite3.Connection) -> None:
    """Bring a file to the newest schema; a new file gets its tables.

    Raises:
        sqlite3.DatabaseError: It is damaged or foreign.
        StateError: It is of a newer version, which is left as it is.
    """
    version = known_version(connection)
    if pragma(connection, "journal_mode") != "wal":
        connection.execute("PRAGMA journal_mode = WAL")
    if version == VERSION:
        return
    with transaction(connection):
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def known_version(connection: sqlite3.Connection) -> int:
    """Return the version of a file that is sound, 0 if it is empty.

    Raises:
        sqlite3.DatabaseError: It is damaged or foreign.
        StateError: It is of a newer version.
    """
    tables = names(connection)
    version = version_of(connection, tables, APPLICATION_ID, VERSION, setting="state.path")
    if version == VERSION and tables != TABLES:
        raise DamagedError(FOREIGN_TABLES)
    if version and is_small(connection):
        verify(connection)
    return version


def names(connection: sqlite3.Connection) -> set[str]:
    """Return the names of all tables and indices."""
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def version_of(  # noqa: PLR0913 - the last two by keyword
    connection: sqlite3.Connection,
    tables: Collection[str],
    application_id: int,
    newest: int,
    *,
    setting: str,
    name: str = "",
) -> int:
    """Return the version of a file, 0 if it is empty.

    Args:
        connection: To the file.
        tables: What is in it.
        application_id: That of files of ours.
        newest: The version that is known here.
        setting: What names another folder.
        name: What messages call it, its path if not given.

    Raises:
        DamagedError: It is foreign.
        StateError: It is of a newer version.
    """
    version = user_version(connection)
    if not tables and not version:
        return 0
    if pragma(connection, "application_id") != application_id or version < 1:
        raise DamagedError("it is a database of something else")
    if version > newest:
        (_, _, file) = connection.execute("PRAGMA database_list").fetchone()
        raise StateError(
            f"{name or file} is of version {version}, made by a newer loadfleet-exporter; this one"
            f" knows version {newest}: start the newer one, or name another folder in {setting}"
        )
    return version


def is_small(connection: sqlite3.Connection) -> bool:
    """Return whether a file is read through when it is opened."""
    size: int = pragma(connection, "page_count") * pragma(connection, "page_size")
    return size <= CHECKED_BYTES


def check(connection: sqlite3.Connection) -> None:
    """Have SQLite read the whole file.

    Raises:
        DamagedError: It is damaged.
    """
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise DamagedError(found)


def shrink(connection: sqlite3.Connection) -> None:
    """Give unused room back to the disk."""
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of what follows or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise


def verify(connection: sqlite3.Connection) -> None:
    """Read all documents.

    Raises:
        sqlite3.DatabaseError: One is not as it was written, or could not be found by its key.
    """
    before = None
    for row in connection.execute(READ):
        checked(*row)
        if before is not None and row[0] <= before:
            raise DamagedError("the documents are not in the order of their keys")
        before = row[0]


def user_version(connection: sqlite3.Connection) -> int:
    """Return the version of the schema."""
    return int(pragma(connection, "user_version"))


def checksum(key: str, written: float, value: bytes) -> int:
    """Return what tells that a document is as it was written, which SQLite itself does not know."""
    return zlib.crc32(value, zlib.crc32(key.encode(), zlib.crc32(struct.pack("<d", written))))


def checked(key: object, written: object, found: object, value: object) -> tuple[bytes, float]:
    """Return value and time of a row of `documents`.

    Raises:
        DamagedError: It is not as it was written.
    """
    if not (isinstance(key, str) and isinstance(written, float) and isinstance(value, bytes)):
        raise DamagedError("a document is of the wrong type")
    if found != checksum(key, written, value):
        raise DamagedError("a document is not as it was written")
    if not 0.0 <= written <= LATEST_UNIX:
        raise DamagedError("a document is of a time that no clock could have given")
    return value, written


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """Return the value of a pragma."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
