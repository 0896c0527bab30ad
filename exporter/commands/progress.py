"""The progress of a long poll, on a terminal line that is overwritten and finally erased."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from exporter.overview.format import duration


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.polling.engine import Engine


#: Update interval of the line. A poll that takes less than this shows no line.
REDRAW_SECONDS = 0.5


class Waiting:
    """Shows why a command waits: on a terminal after each request, in a log on each change.

    Args:
        out: The output.
        command: The command's name.
    """

    def __init__(self, out: TextIO, command: str) -> None:
        self._out = out
        self._command = command
        self._shown = ""

    def tell(self, what: str, left_seconds: float) -> None:
        """Show the reason for waiting and the remaining time."""
        left = duration(float(round(left_seconds)))
        if self._out.isatty():
            _write(self._out, f"waiting {left} more: {what}")
        elif what != self._shown:
            print(f"{self._command}: waiting {left} more: {what}", file=self._out, flush=True)
        self._shown = what

    def end(self) -> None:
        """Erase the line on a terminal."""
        if self._shown and self._out.isatty():
            _write(self._out, "")


@asynccontextmanager
async def progress(engine: Engine, out: TextIO, *, wanted: bool) -> AsyncIterator[None]:
    """Show the progress of an engine's first poll until the context ends.

    Args:
        engine: The polling engine.
        out: The terminal.
        wanted: Whether to show anything.
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
    """Return a line with the number of polled tasks and targets of an engine's first poll."""
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
    """Overwrite the line, or erase it if the text is empty."""
    # The cursor returns to the first column, so that a log line overwrites this one.
    out.write(f"\r\x1b[K{text[: _columns(out) - 1]}\r" if text else "\r\x1b[K")
    out.flush()


def _columns(out: TextIO) -> int:
    """Return the width of the output's terminal; stdout may be another terminal."""
    # A terminal of unknown width reports 0.
    return os.get_terminal_size(out.fileno()).columns or 80
