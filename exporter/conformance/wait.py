"""Waiting for a condition of real processes and loops, never for a duration."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], object], *, timeout_seconds: float = 60.0) -> None:
    """Return as soon as a condition holds; it may be a coroutine function.

    Raises:
        TimeoutError: It did not come to hold.
    """
    async with asyncio.timeout(timeout_seconds):
        while True:
            holds = condition()
            if inspect.isawaitable(holds):
                holds = await holds
            if holds:
                return
            # What is waited for happens in other processes or threads, which set no event of ours.
            await asyncio.sleep(0.02)
