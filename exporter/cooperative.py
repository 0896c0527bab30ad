"""Long work in turns with everybody else on the event loop.

The only way in which Python code that goes through thousands of targets yields. A thread would not
help: it takes the interpreter's lock for milliseconds at a time from the loop, and what it reads
could change under it. Threads are for calls that leave the interpreter: gzip, files, certificates.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, TypeVar


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


T = TypeVar("T")

#: Items between two turns of everybody else: a few milliseconds of work at 20 µs an item.
TURN = 200


async def in_turns(items: Iterable[T], *, turn: int = TURN) -> AsyncIterator[T]:
    """Iterate, letting others run after every so many items."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % turn == 0:
            await asyncio.sleep(0)


async def collected(items: Iterable[T], *, turn: int = TURN) -> list[T]:
    """Make a list, letting others run after every so many items; cheaper than `in_turns`.

    What an iterator leaves out does not count, so a loop over `in_turns` is for filters.
    """
    iterator = iter(items)
    found: list[T] = []
    while chunk := list(islice(iterator, turn)):
        found += chunk
        await asyncio.sleep(0)
    return found
