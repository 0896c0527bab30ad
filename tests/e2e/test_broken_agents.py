"""A real daemon, half of whose agents are broken, and which shows the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload.fleet import AGENT_VERSION
from exporter.simulator.server import Simulation
from tests.support.processes import daemon, fetch
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


FLEET = SimulatorOptions(still=True, agents=50, controllers=0, clusters=0, recorders=0, suites=0)
INTERVAL_SECONDS = 15.0


async def test_half_of_the_agents_are_broken(tmp_path: Path) -> None:
    """The healthy half must be shown within two intervals of the start, and no other agent."""
    async with Simulation(FLEET) as simulation:
        for number, agent in enumerate(simulation.fleet.agents.values()):
            agent.up, agent.active, agent.outdated, agent.version = True, True, False, AGENT_VERSION
            agent.broken = f"error {number}" if number % 2 else None
        healthy = {key for key, one in simulation.fleet.agents.items() if one.broken is None}
        (source, *_) = simulation.configuration()["sources"]
        configuration = {
            "state": {"path": str(tmp_path / "state")},
            "defaults": {"interval": f"{INTERVAL_SECONDS:g}s", "timeout": "5s"},
            "sources": [{**source, "concurrency": 3}],
        }
        async with daemon(tmp_path, configuration) as (url, _):
            seen: set[str] = set()

            async def shown() -> bool:
                page = await fetch(f"{url}/metrics")
                seen.update(
                    line.partition('agent_id="')[2].partition('"')[0]
                    for line in page.splitlines()
                    if line.startswith("loadfleet_agent_up{")
                )
                return seen >= healthy

            await until(shown, timeout_seconds=2 * INTERVAL_SECONDS)

    assert healthy == seen
    assert 0 == len(simulation.realload.refused)
