"""Waiting for a condition that other processes, threads or tasks fulfil."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], object], *, timeout_seconds: float = 60.0) -> None:
    """Wait until a condition holds; it may be a coroutine function.

    Raises:
        TimeoutError: The condition did not hold in time.
    """
    async with asyncio.timeout(timeout_seconds):
        while True:
            holds = condition()
            if inspect.isawaitable(holds):
                holds = await holds
            if holds:
                return
            # Other processes or threads fulfil the condition, so there is no event to wait for.
            await asyncio.sleep(0.02)
