"""A process that changes the state, for the tests with real processes.

    python -m tests.state.writer FOLDER NAME TIMES [BYTES]

It adds one to the document `count` so often, 0 is until it is ended; keeps each number in a document
of its own, and prints it once that was written. With a size, no file of its can grow beyond it.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import sys
from pathlib import Path

from exporter.clock import SYSTEM_CLOCK
from exporter.metrics.telemetry import SelfMetrics
from exporter.state.opening import open_state
from exporter.state.settings import StateSettings


async def main(folder: str, name: str, times: str, bytes_at_most: str = "") -> None:
    if bytes_at_most:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(bytes_at_most),) * 2)
    state = open_state(
        StateSettings(path=Path(folder)), clock=SYSTEM_CLOCK, telemetry=SelfMetrics()
    )

    def add(value: bytes | None, _: float) -> tuple[bytes, int]:
        number = int(value or b"0") + 1
        return b"%d" % number, number

    for turn in itertools.count(1):
        number = await state.update("count", add)
        await state.put(f"{name}/{turn}", b"%d" % number * 100)
        print(turn, number, state.backend, flush=True)
        if turn == int(times):
            break
    await state.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
