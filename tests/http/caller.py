"""A process that calls as often as it may, for the tests with real processes.

    python -m tests.http.caller FOLDER REQUESTS_PER_MINUTE

Each call is a line of the output, written when its token was taken.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from exporter.clock import SYSTEM_CLOCK
from exporter.http.pace import Account, Pace
from exporter.metrics.telemetry import SelfMetrics
from exporter.state.opening import open_state
from exporter.state.settings import StateSettings


async def main(folder: str, budget: str) -> None:
    state = open_state(
        StateSettings(path=Path(folder)), clock=SYSTEM_CLOCK, telemetry=SelfMetrics()
    )
    account = Account(state=state, url="https://vendor.invalid", fingerprint=lambda: "canary")
    pace = Pace(int(budget), clock=SYSTEM_CLOCK, account=account)
    while await pace.take(patience_seconds=0.0):
        sys.stdout.write("call\n")
        sys.stdout.flush()
        # The shortest time of a call, so that the file is not locked all the time.
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
