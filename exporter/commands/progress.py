"""The progress of a long poll, on a line of the terminal that is written anew and erased."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from exporter.overview.format import duration


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.polling.engine import Engine


#: The interval at which the line is brought up to date; a short poll shows none.
REDRAW_SECONDS = 0.5


class Waiting:
    """Tells what is waited for: a terminal once per question, a log once per change.

    Args:
        out: Where it is told.
        command: Who waits.
    """

    def __init__(self, out: TextIO, command: str) -> None:
        self._out = out
        self._command = command
        self._told = ""

    def tell(self, what: str, left_seconds: float) -> None:
        """Tell what is waited for, and for how long still."""
        left = duration(float(round(left_seconds)))
        if self._out.isatty():
            _write(self._out, f"waiting {left} more: {what}")
        elif what != self._told:
            print(f"{self._command}: waiting {left} more: {what}", file=self._out, flush=True)
        self._told = what

    def end(self) -> None:
        """Erase what was told on a terminal; a log keeps it."""
        if self._told and self._out.isatty():
            _write(self._out, "")


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
            _write(out, line(engine, engine.clock.monotonic() - began))
    finally:
        _write(out, "")


def _write(out: TextIO, text: str) -> None:
    """Write the line anew; without a text it is erased."""
    # The cursor stays in front, so that a line of the log takes this one's place.
    out.write(f"\r\x1b[K{text[: _columns(out) - 1]}\r" if text else "\r\x1b[K")
    out.flush()


def _columns(out: TextIO) -> int:
    """Return the width of the terminal that is written on, which need not be that of the table."""
    # One that does not know its own says 0.
    return os.get_terminal_size(out.fileno()).columns or 80
