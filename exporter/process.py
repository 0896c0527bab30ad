"""How a process that stays is set up: its event loop, and how often it looks for garbage."""

from __future__ import annotations

import asyncio
import gc
import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


#: New objects before the youngest are looked through. Python's own 700 are three calls' worth, and
#: with thousands of readings, which all stay, a quarter of the time went into finding nothing. It
#: has to be well above what 256 calls under way hold, or each look finds most of them alive.
YOUNG_OBJECTS = 100_000


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine that is the process's life, on uvloop where that is installed."""
    # What was imported stays: looking through it again and again would hold the loop each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
            "uvloop"
        ).new_event_loop
    except ImportError:  # pragma: no cover  # only where the extra `speed` is not installed
        return None
    return factory
