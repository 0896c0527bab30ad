"""Real processes that call as one account."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from exporter.clock import SYSTEM_CLOCK
from exporter.http.tokens import Record, decoded
from exporter.metrics.telemetry import SelfMetrics
from exporter.state.opening import open_state
from exporter.state.settings import StateSettings
from tests.support.processes import running
from tests.support.wait import until


if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from exporter.state.base import State
    from tests.support.processes import Process


#: A budget larger than the calls of a process before it is killed.
BUDGET = 400


def caller(tmp_path: Path, name: str) -> AbstractAsyncContextManager[Process]:
    command = (sys.executable, "-m", "tests.http.caller", tmp_path / "state", str(BUDGET))
    return running(*command, folder=tmp_path, name=name)


async def record(state: State) -> Record:
    (document,) = (await state.documents("pace/")).values()
    found = decoded(document.value)
    assert found is not None
    return found


async def test_together_they_keep_to_the_budget(tmp_path: Path) -> None:
    """Processes must keep to one budget together, also when one is killed and replaced."""
    settings = StateSettings(path=tmp_path / "state")
    state = open_state(settings, clock=SYSTEM_CLOCK, telemetry=SelfMetrics())

    async def both_wait() -> bool:
        return len((await record(state)).waiting) >= 2

    async with caller(tmp_path, "a") as killed, caller(tmp_path, "b") as one:
        await until(lambda: "call" in killed.output)
        killed.process.kill()
        await killed.process.wait()
        async with caller(tmp_path, "c") as other:
            await until(both_wait, timeout_seconds=50.0)
            calls = [each.output.count("call") for each in (killed, one, other)]
    taken = sum((await record(state)).taken.values())
    await state.aclose()

    assert BUDGET == taken
    # The killed process may not have printed its newest call.
    assert sum(calls) in (BUDGET - 1, BUDGET)
