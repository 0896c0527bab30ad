"""The daemon as `exporter` runs it, with a watch that measures how long its loop is held.

At the end it prints the longest time in seconds in which nothing else could run, and the longest
by the processor's clock, which other processes of a busy machine do not prolong.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from exporter import process
from exporter.daemon import Daemon
from exporter.process import stop_signals
from exporter.settings.load import configure_for, load


_TICK_SECONDS = 0.002

#: Time after the start that is not measured: nothing depends on the loop yet.
_WARM_SECONDS = 20.0


async def live(daemon: Daemon) -> None:
    """Serve until told to stop, watching the loop."""
    held = working = 0.0

    async def watch() -> None:
        nonlocal held, working
        await asyncio.sleep(_WARM_SECONDS)
        while True:
            before, worked = time.monotonic(), time.thread_time()
            await asyncio.sleep(_TICK_SECONDS)
            held = max(held, time.monotonic() - before - _TICK_SECONDS)
            working = max(working, time.thread_time() - worked)

    with stop_signals() as stop:
        watcher = asyncio.create_task(watch())
        await daemon.run(stop)
        watcher.cancel()
    sys.stdout.write(f"held {held} {working}\n")


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config.file", dest="config", type=Path, required=True)
    parser.add_argument("--web.listen-address", dest="listen", required=True)
    given = parser.parse_args()
    loaded = load(given.config, environ={}, overrides={"web": {"listen_address": [given.listen]}})
    configure_for(loaded.settings)
    process.run(live(Daemon(loaded)))


if __name__ == "__main__":
    main()
