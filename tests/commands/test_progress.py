from __future__ import annotations

import io
import os
import pty
import termios
from contextlib import suppress

from exporter.commands.progress import REDRAW_SECONDS, line, progress
from exporter.polling.engine import Engine, connected
from exporter.settings.load import from_data
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from tests.support.clock import FakeClock


SMALL = SimulatorOptions(still=True, agents=2, controllers=1, clusters=1, recorders=1, suites=1)


async def test_it_counts_tasks_and_targets() -> None:
    """All that a poll was to do is done in the end, and nothing before it began."""
    async with Simulation(SMALL) as simulation:
        data = simulation.configuration()
        settings = from_data({"sources": data["sources"][:1]})
        async with connected(settings) as engine:
            before = line(engine, 0.4)

            await engine.poll_once()

            after = line(engine, 12.7)

    assert ("polled 0 of 6 tasks, 0 s", "polled 6 of 6 tasks, 5 of 5 targets, 12 s") == (
        before,
        after,
    )


async def test_it_fits_the_terminal_it_is_written_on() -> None:
    """The table may go elsewhere; a line that is too long could not be erased."""
    fake, (ours, theirs) = FakeClock(), pty.openpty()
    termios.tcsetwinsize(theirs, (24, 20))

    with os.fdopen(theirs, "w") as out:
        async with progress(Engine(clock=fake.clock), out, wanted=True):
            await fake.advance(REDRAW_SECONDS)
    seen = b""
    with suppress(OSError):  # the other end is closed
        while chunk := os.read(ours, 4096):
            seen += chunk
    os.close(ours)

    assert b"\r\x1b[Kpolled 0 of 0 tasks\r\r\x1b[K" == seen


async def test_nobody_who_reads_no_terminal_sees_it() -> None:
    """A log or a pipe gets no control characters."""
    out = io.StringIO()

    async with progress(Engine(), out, wanted=False):
        pass

    assert "" == out.getvalue()
