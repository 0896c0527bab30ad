"""The tables of the SQLite store: creation, migration, and detection of foreign or damaged files.

The history's file uses some of these checks and statements, too.
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


#: The `application_id` in the header of the state's files.
APPLICATION_ID = 0x4C464553

#: The statements that migrate a file: those at index n from version n to n + 1.
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

#: Larger files are not verified when they are opened, because that would take long.
CHECKED_BYTES = 64 * 2**20

#: The error of a file that has the right header but wrong tables.
FOREIGN_TABLES = "its tables are not the exporter's"


class DamagedError(sqlite3.DatabaseError):
    """The file is damaged, or another program has written it."""


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the file is damaged or foreign."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # The error of a text that is not UTF-8 has no code.
        return isinstance(error, DamagedError | sqlite3.OperationalError)
    # The code of newer versions of SQLite for a file that ends within a page.
    if code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return True
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def prepare(connection: sqlite3.Connection) -> None:
    """Migrate a file to the newest schema; a new file gets its tables.

    Raises:
        sqlite3.DatabaseError: The file is damaged or foreign.
        StateError: The file is of a newer version; it stays unchanged.
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
    """Return the version of an undamaged file, 0 if it is empty.

    Raises:
        sqlite3.DatabaseError: The file is damaged or foreign.
        StateError: The file is of a newer version.
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
        connection: A connection to the file.
        tables: The names of its tables and indices.
        application_id: The expected `application_id`.
        newest: The newest version that this exporter knows.
        setting: The setting that names the folder, for messages.
        name: The file's name in messages, its path if not given.

    Raises:
        DamagedError: The file is foreign.
        StateError: The file is of a newer version.
    """
    version = user_version(connection)
    if not tables and not version:
        return 0
    if pragma(connection, "application_id") != application_id or version < 1:
        raise DamagedError("it is a database of another program")
    if version > newest:
        (_, _, file) = connection.execute("PRAGMA database_list").fetchone()
        raise StateError(
            f"a newer loadfleet-exporter has written {name or file} (version {version}; this one"
            f" knows {newest}); start the newer one, or name another folder in {setting}"
        )
    return version


def is_small(connection: sqlite3.Connection) -> bool:
    """Return whether a file is small enough to verify when it is opened."""
    size: int = pragma(connection, "page_count") * pragma(connection, "page_size")
    return size <= CHECKED_BYTES


def check(connection: sqlite3.Connection) -> None:
    """Run SQLite's integrity check of the whole file.

    Raises:
        DamagedError: The file is damaged.
    """
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise DamagedError(found)


def shrink(connection: sqlite3.Connection) -> None:
    """Give the file's unused space back to the disk."""
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all statements of a block, or none if one fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise


def verify(connection: sqlite3.Connection) -> None:
    """Read and check all documents.

    Raises:
        sqlite3.DatabaseError: A document is damaged, or the order of the keys is wrong.
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
    """Return the checksum of a document, because SQLite does not detect changed values."""
    return zlib.crc32(value, zlib.crc32(key.encode(), zlib.crc32(struct.pack("<d", written))))


def checked(key: object, written: object, found: object, value: object) -> tuple[bytes, float]:
    """Return value and time of a row of `documents`.

    Raises:
        DamagedError: The row is damaged.
    """
    if not (isinstance(key, str) and isinstance(written, float) and isinstance(value, bytes)):
        raise DamagedError("a document is of the wrong type")
    if found != checksum(key, written, value):
        raise DamagedError("the checksum of a document is wrong")
    if not 0.0 <= written <= LATEST_UNIX:
        raise DamagedError("a document has an impossible time")
    return value, written


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """Return the value of a pragma."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
