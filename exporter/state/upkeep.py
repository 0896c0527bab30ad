"""Maintenance of the state's file: check, shrink, export.

A check and an export change nothing, and do not block processes that use the file.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from exporter.errors import StateError
from exporter.state import schema
from exporter.state.base import SALT
from exporter.state.database import Database, clock_of, tidy
from exporter.state.sqlite import as_document


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.state.base import Document
    from exporter.state.hostclock import HostClock
    from exporter.state.place import Place


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an undamaged file.

    Attributes:
        version: The version of the schema.
        documents: The number of documents.
        document_bytes: The size of all values.
        file_bytes: The size of the file and of SQLite's files beside it.
        newest_age_seconds: Seconds since the newest document was written; `None` without documents.
    """

    version: int
    documents: int
    document_bytes: int
    file_bytes: int
    newest_age_seconds: float | None


def check(place: Place, host: HostClock) -> Report:
    """Read and check the whole file.

    Returns:
        The version, number of documents and sizes.

    Raises:
        StateError: The file is missing, is damaged, or cannot be used.
    """
    with reading(place) as connection:
        schema.check(connection)
        if schema.known_version(connection):
            schema.verify(connection)
        documents = [document for _, document in _documents(connection, host)]
        return Report(
            version=schema.user_version(connection),
            documents=len(documents),
            document_bytes=sum(len(document.value) for document in documents),
            file_bytes=place.size(),
            newest_age_seconds=min((each.age_seconds for each in documents), default=None),
        )


def export(place: Place, host: HostClock) -> Iterator[tuple[str, Document]]:
    """Yield keys and documents, without the salt of the hashes.

    Raises:
        StateError: As in `check`.
    """
    with reading(place) as connection:
        for key, document in _documents(connection, host):
            if key != SALT:
                yield key, document


def vacuum(place: Place, host: HostClock) -> tuple[int, int]:
    """Delete old documents, and give the unused space back to the disk.

    Returns:
        The size of the file before and after, in bytes.

    Raises:
        StateError: As in `check`, or another process has locked the file.
    """
    # The check raises for a damaged file before `Database` would set it aside.
    before = check(place, host).file_bytes
    database = Database(place, host=host)
    try:
        database.write(tidy)
        database.read(lambda connection, _: schema.shrink(connection))
    finally:
        database.close()
    return before, place.size()


def _documents(connection: sqlite3.Connection, host: HostClock) -> Iterator[tuple[str, Document]]:
    if not schema.known_version(connection):
        return
    now = host.boottime() + host.offset(*clock_of(connection)).seconds
    for row in connection.execute(f"{schema.READ} ORDER BY key"):
        yield row[0], as_document(row, now)


@contextmanager
def reading(place: Place) -> Iterator[sqlite3.Connection]:
    """Open the file read-only, without blocking the processes that use it.

    Raises:
        StateError: The file is missing, is damaged, or cannot be used.
    """
    place.check()
    if place.identity() is None:
        raise StateError(f"there is no state in {place.folder}; name its folder in state.path")
    # Without `immutable`, SQLite would create files beside a file that no process uses.
    used = place.wal.exists()
    how = "mode=ro" if used else "immutable=1"
    try:
        connection = sqlite3.connect(f"{place.file.as_uri()}?{how}", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        if not used and place.wal.exists():
            raise StateError(f"another process has just opened {place.file}; try again") from error
        if not schema.is_damage(error):
            raise StateError(f"{place.file} cannot be read ({error})") from error
        raise StateError(
            f"{place.file} is damaged or foreign ({error}); at its next start the exporter renames"
            " it and creates a new one"
        ) from error
