from __future__ import annotations

import io

from exporter.commands.progress import line, progress
from exporter.polling.engine import Engine, connected
from exporter.settings.load import from_data
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation


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


async def test_nobody_who_reads_no_terminal_sees_it() -> None:
    """A log or a pipe gets no control characters."""
    out = io.StringIO()

    async with progress(Engine(), out, wanted=False):
        pass

    assert "" == out.getvalue()
