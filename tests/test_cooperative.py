from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.cooperative import TURN, collected, in_turns


if TYPE_CHECKING:
    from collections.abc import Iterator


async def test_others_get_their_turn_in_between() -> None:
    """Work on thousands of targets must not hold the loop until its end."""
    seen: list[int] = []

    async def other() -> None:
        seen.append(done)

    done = 0
    task = asyncio.create_task(other())
    async for _ in in_turns(range(3 * TURN)):
        done += 1
    await task

    assert [TURN] == seen


async def test_every_item_comes_once_and_in_order() -> None:
    """Every item must come once and in order."""
    items = [item async for item in in_turns(range(2 * TURN + 1))]

    assert list(range(2 * TURN + 1)) == items


async def test_a_list_is_made_in_turns() -> None:
    """The whole comes in order, and others had their turn long before its end."""
    seen: list[int] = []
    done = 0

    async def other() -> None:
        seen.append(done)

    def items() -> Iterator[int]:
        nonlocal done
        for item in range(3 * TURN):
            done = item
            yield item

    task = asyncio.create_task(other())
    found = await collected(items())
    await task

    assert list(range(3 * TURN)) == found
    assert [TURN - 1] == seen
