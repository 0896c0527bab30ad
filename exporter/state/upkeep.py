"""Upkeep of the state's file by people: check it, make it small, print it.

To check and to print change nothing, and wait for nobody who uses the file.
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
    """The findings in a sound file.

    Attributes:
        version: Of the schema.
        documents: How many there are.
        document_bytes: Of their values.
        file_bytes: Of the file and of what SQLite keeps beside it.
        newest_age_seconds: Since the newest of them was written; `None` without any.
    """

    version: int
    documents: int
    document_bytes: int
    file_bytes: int
    newest_age_seconds: float | None


def check(place: Place, host: HostClock) -> Report:
    """Read the whole file.

    Raises:
        StateError: It is not there, is damaged, or cannot be used.
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
    """Yield all documents by their keys, without the salt of the hashes.

    Raises:
        StateError: As of `check`.
    """
    with reading(place) as connection:
        for key, document in _documents(connection, host):
            if key != SALT:
                yield key, document


def vacuum(place: Place, host: HostClock) -> tuple[int, int]:
    """Delete what nobody has written for long, and give the room back to the disk.

    Returns:
        The bytes of the file before and after.

    Raises:
        StateError: As of `check`, or somebody else holds the file.
    """
    # What is damaged stays where it is: whoever needs the state next sets it aside.
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
    """Open the file so that nothing is changed, and nobody who uses it waits.

    Raises:
        StateError: It is not there, is damaged, or cannot be used.
    """
    place.check()
    if place.identity() is None:
        raise StateError(f"there is no state in {place.folder}; name its folder in state.path")
    # Beside a file that nobody has open, SQLite would make others.
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
            raise StateError(f"{place.file} was opened meanwhile; try again") from error
        if not schema.is_damage(error):
            raise StateError(f"{place.file}: it cannot be read ({error})") from error
        raise StateError(
            f"{place.file} is damaged or foreign ({error}); the exporter sets it aside when it"
            " starts, and begins a new one"
        ) from error
