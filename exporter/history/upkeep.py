"""Upkeep of the history's files by people: check them, and make them small."""

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


#: The file of who is the only one; each of several shards has its number in the name.
FILE = "history.db"

SETTING = "history.path"


def places(folder: Path | None, environ: Mapping[str, str]) -> list[Place]:
    """Return the histories in a folder, or in that of the state by default.

    Args:
        folder: As the settings name it.
        environ: The environment.
    """
    place = place_in(folder, environ, name=FILE, setting=SETTING)
    found = [] if place is None else sorted(place.folder.glob("history*.db"))
    return [Place(path.parent, name=path.name, setting=SETTING) for path in found]


def check(place: Place) -> dict[str, int]:
    """Read the whole file, without changing it.

    Returns:
        The number of rows by table.

    Raises:
        StateError: It is damaged, or cannot be used.
    """
    with upkeep.reading(place) as connection:
        tables.known_version(connection)
        schema.check(connection)
        return tables.rows(connection)


def vacuum(place: Place) -> tuple[int, int]:
    """Give unused room back to the disk.

    Returns:
        The bytes of the file before and after.

    Raises:
        StateError: As of `check`, or somebody else holds the file.
    """
    check(place)
    before = place.size()
    try:
        with closing(connect(place.file)) as connection:
            schema.shrink(connection)
    except sqlite3.Error as error:
        raise explained(place.file, error) from error
    return before, place.size()
