from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.web.slices import SLICE, in_slices


if TYPE_CHECKING:
    from collections.abc import Iterator


async def test_keeps_the_order() -> None:
    """All steps come back, in their order."""
    found = await in_slices(range(SLICE * 2 + 1))

    assert list(range(SLICE * 2 + 1)) == found


async def test_lets_others_run_in_between() -> None:
    """Another task runs before the steps are over."""
    seen: list[str] = []

    async def other() -> None:
        seen.append("other")

    def steps() -> Iterator[None]:
        for step in range(SLICE + 1):
            seen.append(str(step))
            yield

    task = asyncio.create_task(other())
    await in_slices(steps())
    await task

    assert SLICE == seen.index("other")
