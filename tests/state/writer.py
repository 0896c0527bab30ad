"""A process that changes the state, for the tests with real processes.

    python -m tests.state.writer FOLDER NAME TIMES [BYTES]

It adds one to the document `count` so many times, 0 for ever; it writes each number into a document
of its own, and then prints it. With a size, no file of the state can grow beyond it.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import sys
from pathlib import Path

from exporter.clock import SYSTEM_CLOCK
from exporter.logging import configure
from exporter.metrics.telemetry import SelfMetrics
from exporter.state.opening import open_state
from exporter.state.settings import StateSettings


async def main(folder: str, name: str, times: str, size: str = "-1") -> None:
    configure(level="info", log_format="logfmt")
    state = open_state(
        StateSettings(path=Path(folder)), clock=SYSTEM_CLOCK, telemetry=SelfMetrics()
    )

    def add(value: bytes | None, _: float) -> tuple[bytes, int]:
        number = int(value or b"0") + 1
        return b"%d" % number, number

    for turn in itertools.count(1):
        limit(int(size))
        number = await state.update("count", add)
        await state.put(f"{name}/{turn}", b"%d" % number * 100)
        limit(resource.RLIM_INFINITY)
        sys.stdout.write(f"{turn} {number} {state.backend}\n")
        sys.stdout.flush()
        if turn == int(times):
            break
    await state.aclose()


def limit(size: int) -> None:
    """Let no file grow beyond a size in bytes; -1 is no limit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
