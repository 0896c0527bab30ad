"""Maintenance of the history's files by hand: check them, and shrink them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from exporter.history import tables
from exporter.state import schema, upkeep
from exporter.state.database import connect, explained
from exporter.state.opening import place_in
from exporter.state.place import Place


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


#: The name of the file, unless the targets are sharded: then the name contains the shard's number.
FILE = "history.db"

SETTING = "history.path"


def places(folder: Path | None, environ: Mapping[str, str]) -> list[Place]:
    """Return the history's files in a folder.

    Args:
        folder: The folder in the settings; if `None`, the default folder of the state.
        environ: The environment, which can set that default.
    """
    place = place_in(folder, environ, name=FILE, setting=SETTING)
    found = [] if place is None else sorted(place.folder.glob("history*.db"))
    return [Place(path.parent, name=path.name, setting=SETTING) for path in found]


def check(place: Place) -> dict[str, int]:
    """Check the whole file, without changing it.

    Returns:
        The number of rows by table.

    Raises:
        StateError: The file is damaged, or cannot be used.
    """
    with upkeep.reading(place) as connection:
        tables.known_version(connection)
        schema.check(connection)
        return tables.rows(connection)


def vacuum(place: Place) -> tuple[int, int]:
    """Give unused room back to the disk.

    Returns:
        The size of the file before and after, in bytes.

    Raises:
        StateError: As for `check`, or another process holds the file.
    """
    check(place)
    before = place.size()
    try:
        with closing(connect(place.file)) as connection:
            schema.shrink(connection)
    except sqlite3.Error as error:
        raise explained(place.file, error) from error
    return before, place.size()
