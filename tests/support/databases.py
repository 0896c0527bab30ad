"""Databases that tests open and need not close.

From Python 3.13 on, one that nobody has closed is warned of where garbage is collected next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar


if TYPE_CHECKING:

    class Closable(Protocol):
        """Something that can be closed, also if it is already."""

        def close(self) -> None: ...


T = TypeVar("T", bound="Closable")

_OPENED: list[Closable] = []


def closed_at_the_end(database: T) -> T:
    """Have a database closed after the test, and return it."""
    _OPENED.append(database)
    return database


def close_all() -> None:
    """Close them."""
    while _OPENED:
        _OPENED.pop().close()
