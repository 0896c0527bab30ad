"""A process that writes a history, for the tests with real processes.

    python -m tests.history.writer FOLDER UNIX

It polls an agent, which is down at each tenth poll, on a clock of its own that begins at a time. It
writes a batch after every poll, and then prints its role and the number of polls.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from exporter.logging import configure
from tests.history.feed import Feed
from tests.support.clock import FakeClock


async def main(folder: str, unix: str) -> None:
    configure(level="info", log_format="logfmt")
    feed = await Feed(Path(folder), FakeClock(unix=float(unix))).begin()
    for turn in itertools.count(1):
        await feed.polls(turn % 10 != 0)
        await feed.history.flush()
        feed.clock.shift(1)
        sys.stdout.write(f"{feed.history.role} {turn}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
