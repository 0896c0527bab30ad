"""A daemon that goes on where another one ended, both in this process."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from exporter.daemon import Daemon
from exporter.settings.load import Loaded, from_data
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.simulator.vendor import Command, Fault
from tests.support.processes import fetch, free_port
from tests.support.state import LastingState
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


UNREACHABLE = "LoadFleetAgentUnreachable"


@asynccontextmanager
async def running(
    configuration: Mapping[str, Any], state: LastingState
) -> AsyncIterator[tuple[Daemon, str]]:
    """Run a daemon that serves already, and stop it in the end."""
    urls: list[str] = []
    loaded = Loaded(settings=from_data(configuration), hash="")
    daemon = Daemon(loaded, announce=urls.append, state=state)
    stop = asyncio.Event()
    task = asyncio.create_task(daemon.run(stop))
    try:
        await until(lambda: urls or task.done())
        yield daemon, urls[0].rstrip("/")
    finally:
        stop.set()
        await task


def firing(daemon: Daemon) -> dict[str, float]:
    """Return since when which agent's alert fires."""
    return {
        alert.labels["agent_id"]: alert.since_timestamp_seconds
        for alert in daemon.alerts() or ()
        if alert.name == UNREACHABLE and alert.state == "firing"
    }


async def test_a_restart_while_the_portal_hangs_loses_nothing() -> None:
    """Ready at once, with the readings, since when they are so, and the alerts of before."""
    state = LastingState(time.monotonic)
    async with Simulation(SimulatorOptions(still=True, agents=5)) as simulation:
        for agent in simulation.fleet.agents.values():
            agent.up, agent.active = agent is not simulation.fleet.agents["42"], True
        configuration = {
            "defaults": {"interval": "1s", "timeout": "900ms", "stale_after": "10m"},
            "sources": simulation.configuration()["sources"][:1],
            "web": {"listen_address": f"127.0.0.1:{free_port()}"},
            "alerting": {
                "alertmanagers": ["http://127.0.0.1:1"],
                "thresholds": {"for_scale": 0.001},
                "evaluation_interval": "100ms",
            },
        }
        async with running(configuration, state) as (daemon, url):
            await until(lambda: daemon.ready and firing(daemon))
            alerts, before = firing(daemon), json.loads(await fetch(f"{url}/api/v1/targets"))
        simulation.realload.obey(Command(fault=Fault.HANG))

        async with running(configuration, state) as (daemon, url):
            ready = await fetch(f"{url}/-/ready")
            after = json.loads(await fetch(f"{url}/api/v1/targets"))
            page = await fetch(f"{url}/metrics")
            restored = firing(daemon)

    assert ["42"] == list(alerts)
    assert alerts == restored
    assert "not" not in ready.lower()
    assert 'agent_id="42"' in page
    facts = ("kind", "id", "state", "changed_timestamp_seconds")
    assert [[row[fact] for fact in facts] for row in before["data"]["targets"]] == [
        [row[fact] for fact in facts] for row in after["data"]["targets"]
    ]
    assert {True} == {row["restored"] for row in after["data"]["targets"]}
