from __future__ import annotations

import asyncio

from exporter.cooperative import TURN, in_turns


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
    """Nothing is lost or doubled at a pause."""
    items = [item async for item in in_turns(range(2 * TURN + 1))]

    assert list(range(2 * TURN + 1)) == items
