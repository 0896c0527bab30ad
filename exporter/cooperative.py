"""Long work in turns with everybody else on the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


T = TypeVar("T")

#: Items between two turns of everybody else: a few milliseconds of the usual work on a target.
TURN = 500


async def in_turns(items: Iterable[T], *, turn: int = TURN) -> AsyncIterator[T]:
    """Iterate, letting others run after every so many items."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % turn == 0:
            await asyncio.sleep(0)
