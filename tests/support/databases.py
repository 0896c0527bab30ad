"""Databases that tests open, and that are closed after them.

From Python 3.13 on, the garbage collector warns of a database that was not closed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from concurrent.futures import Executor

    class Closable(Protocol):
        """Something that can be closed, also if it is already."""

        def close(self) -> None: ...


_OPENED: list[tuple[Executor, Closable]] = []


def closed_at_the_end(worker: Executor, database: Closable) -> None:
    """Register a database to be closed after the test, by the worker that alone may use it."""
    _OPENED.append((worker, database))


def close_all() -> None:
    """Close the registered databases."""
    while _OPENED:
        worker, database = _OPENED.pop()
        # A worker that refuses work has closed its database already.
        with suppress(RuntimeError):
            worker.submit(database.close).result()
