"""Setting up a process that stays: event loop, garbage collection, signals to stop."""

from __future__ import annotations

import asyncio
import gc
import importlib
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


#: Threshold of the youngest generation of the garbage collector. Python's 700 is reached every
#: third call and costs a quarter of the CPU time with 10,000 readings alive. It must exceed what
#: 256 calls in flight allocate, or each collection finds most of them alive.
YOUNG_OBJECTS = 100_000


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine that is the process's life, on uvloop where that is installed."""
    # What was imported stays: collections that go through it would hold the loop each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Set the event on SIGTERM and SIGINT instead of dying of them."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
