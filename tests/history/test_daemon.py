"""The daemon with its history, beside a simulated portal."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from exporter.daemon import Daemon
from exporter.settings.load import Loaded, from_data
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from tests.state.stores import entries
from tests.support.processes import fetch, free_port
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


TOKEN = "CANARY-token"


def configuration(folder: Path, simulation: Simulation, **history: Any) -> dict[str, Any]:
    sources = simulation.configuration()["sources"][:1]
    return {
        "defaults": {"interval": "1s", "timeout": "900ms"},
        "sources": [{**sources[0], "auth_token": TOKEN}],
        "web": {"listen_address": f"127.0.0.1:{free_port()}"},
        "state": {"path": folder},
        "history": history,
    }


@asynccontextmanager
async def running(data: dict[str, Any]) -> AsyncIterator[str]:
    """Run a daemon, and yield the URL of an agent's history once its first polls are over."""
    urls: list[str] = []
    daemon = Daemon(Loaded(settings=from_data(data), hash=""), announce=urls.append)
    stop = asyncio.Event()
    task = asyncio.create_task(daemon.run(stop))
    try:
        await until(lambda: task.done() or (urls and daemon.ready))
        yield f"{urls[0].rstrip('/')}/api/v1/history?source=simulated-portal&kind=agent&id=42"
    finally:
        stop.set()
        await task


async def readings(url: str) -> tuple[int, int]:
    """Return how many transitions and readings of the agent are known."""
    document = json.loads(await fetch(url))
    if document["status"] == "error":
        return 0, 0
    history = document["data"]["history"]
    return len(history["transitions"]), sum(hour["readings_up"] for hour in history["hours"])


async def test_outlives_a_restart(tmp_path: Path) -> None:
    """Counts from before an orderly stop must survive a restart, in files without a token."""
    async with Simulation(SimulatorOptions(still=True, agents=3, token=TOKEN)) as simulation:
        for agent in simulation.fleet.agents.values():
            agent.up = agent.active = True
        data = configuration(tmp_path, simulation)
        async with running(data) as url:

            async def read_twice() -> bool:
                return (await readings(url))[1] >= 2

            await until(read_twice)
            _, before = await readings(url)

        files = [path.read_bytes() for path in entries(tmp_path) if "history" in path.name]
        async with running(data) as url:

            async def read_on() -> bool:
                return (await readings(url))[1] > before

            await until(read_on)
            transitions, _ = await readings(url)

    assert 1 == transitions
    assert files
    assert not any(TOKEN.encode() in content for content in files)


async def test_can_be_switched_off(tmp_path: Path) -> None:
    """A history that is off must write nothing."""
    async with (
        Simulation(SimulatorOptions(still=True, agents=1, token=TOKEN)) as simulation,
        running(configuration(tmp_path, simulation, keep="off")) as url,
    ):
        document = json.loads(await fetch(url))

    assert "no history is kept: it is off" == document["error"]
    assert [] == [path.name for path in entries(tmp_path) if "history" in path.name]
