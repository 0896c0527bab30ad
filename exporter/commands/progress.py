"""The progress of a long poll, on a line of the terminal that is written anew and erased."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from exporter.overview.format import duration


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.polling.engine import Engine


#: The interval at which the line is brought up to date; a short poll shows none.
REDRAW_SECONDS = 0.5


@asynccontextmanager
async def progress(engine: Engine, out: TextIO, *, wanted: bool) -> AsyncIterator[None]:
    """Show how far the first poll of an engine is, for as long as the context lasts.

    Args:
        engine: The one that polls.
        out: The terminal.
        wanted: Whether to show it at all.
    """
    if not wanted:
        yield
        return
    task = asyncio.create_task(_show(engine, out))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def line(engine: Engine, seconds: float) -> str:
    """Return how far the first poll of an engine is."""
    tasks = [
        poller.status(task).health is not None
        for poller in engine.pollers.values()
        for task in poller.intervals
    ]
    found = [poller.source.progress for poller in engine.pollers.values()]
    parts = [f"{sum(tasks)} of {len(tasks)} tasks"]
    if targets := sum(each.targets for each in found):
        parts.append(f"{sum(each.called for each in found):,} of {targets:,} targets")
    return f"polled {', '.join(parts)}, {duration(float(int(seconds)))}"


async def _show(engine: Engine, out: TextIO) -> None:
    began = engine.clock.monotonic()
    try:
        while True:
            await engine.clock.sleep(REDRAW_SECONDS)
            text = line(engine, engine.clock.monotonic() - began)
            # The cursor stays in front, so that a line of the log takes this one's place.
            out.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}\r")
            out.flush()
    finally:
        out.write("\r\x1b[K")
        out.flush()
