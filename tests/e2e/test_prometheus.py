"""The whole chain: simulated portal, daemon, real Prometheus."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import EXPORTER, announced, answers, daemon, fetch, free_port, running
from tests.support.prometheus import Prometheus, prometheus, scraping
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


#: The sources by the names they get in the tests.
NAMES = {"realload": "prod", "blazemeter": "acme", "eggplant": "lab"}


class Stack:
    """The three programs, and queries of them."""

    def __init__(self, *, vendors: dict[str, str], prometheus: Prometheus) -> None:
        self.vendors = vendors
        self.query = prometheus.query
        self.values = prometheus.values
        self.until_values = prometheus.until_values

    async def some(self, expression: str) -> list[dict[str, Any]]:
        """Wait until an expression has series, and return them."""
        found: list[dict[str, Any]] = []

        async def any_() -> bool:
            nonlocal found
            found = await self.query(expression)
            return bool(found)

        await until(any_)
        return found

    async def control(self, vendor: str = "realload", **command: Any) -> None:
        """Change a simulated world."""
        reply = json.loads(await fetch(f"{self.vendors[vendor]}/_control", data=command))
        assert "error" not in reply, reply


@asynccontextmanager
async def stack(folder: Path, *, stale_after: str) -> AsyncIterator[Stack]:
    """Run simulator, daemon and Prometheus with clocks compressed by configuration.

    Args:
        folder: The folder of their files.
        stale_after: The daemon's `stale_after`.
    """
    require("prometheus")
    ports = {vendor: free_port() for vendor in NAMES}
    flags = [f"--{vendor}-port={port}" for vendor, port in ports.items()]
    async with running(*EXPORTER, "simulate", *flags, folder=folder, name="simulator") as simulator:
        vendors = {vendor: f"http://127.0.0.1:{port}" for vendor, port in ports.items()}
        for url in vendors.values():
            await answers(f"{url}/_control", simulator)
            await fetch(f"{url}/_control", data={"still": True})
        configuration = await announced(simulator)
        configuration["defaults"] = {
            "interval": "1s",
            "timeout": "900ms",
            "stale_after": stale_after,
        }
        for source in configuration["sources"]:
            source["name"] = NAMES[source["provider"]]
        async with daemon(folder, configuration) as (url, process):
            async with prometheus(folder, scraping(url.removeprefix("http://"))) as asked:
                yield Stack(vendors=vendors, prometheus=asked)
            assert "Traceback" not in process.errors


@pytest.mark.timeout(300)
async def test_prometheus_knows_the_fleet(tmp_path: Path) -> None:
    """Prometheus must show every change of the fleet, and no other."""
    async with stack(tmp_path, stale_after="10s") as s:
        await s.until_values('up{job="loadfleet"}', [1])
        await s.until_values('loadfleet_source_up{source="prod"}', [1])
        await s.until_values('count(loadfleet_agent_active{source="prod"})', [20])
        up = [series["metric"] for series in await s.some('loadfleet_agent_up{source="prod"} == 1')]
        victim, deleted = up[0]["agent_id"], up[1]["agent_id"]
        agent = f'loadfleet_agent_up{{agent_id="{victim}"}}'

        await s.control(change={"agents": {victim: {"up": False}}})
        await s.until_values(agent, [0])
        await s.until_values(
            f'loadfleet_agent_failure{{agent_id="{victim}",reason="not_reachable"}}', [1]
        )
        await s.control(change={"agents": {victim: {"up": True}}})
        await s.until_values(agent, [1])

        await s.control(delete={"agents": [deleted]})
        await s.until_values(f'count({{__name__=~"loadfleet_agent_.+",agent_id="{deleted}"}})', [])

        accused = 'sum(1 - loadfleet_agent_up{source="prod"})'
        before = (await s.some(accused))[0]["value"][1]
        await s.control(fault="unavailable")
        await s.until_values('loadfleet_source_up{source="prod"}', [0])
        await s.until_values(accused, [float(before)])
        await s.until_values('count(loadfleet_agent_up{source="prod"})', [])
        await s.until_values('loadfleet_source_up{source="prod"}', [0])

        await s.control(fault="none")
        await s.until_values(agent, [1])
        await s.until_values('loadfleet_source_up{source="prod"}', [1])


@pytest.mark.timeout(300)
async def test_prometheus_knows_the_other_vendors(tmp_path: Path) -> None:
    """Runs, heartbeats and connections reach Prometheus, and one vendor's outage stays its own."""
    async with stack(tmp_path, stale_after="4s") as s:
        await s.until_values("count(loadfleet_source_up == 1)", [3])

        # BlazeMeter: heartbeats, runs in flight, verdicts.
        beating = await s.some('loadfleet_agent_up{source="acme"} == 1')
        ship = beating[0]["metric"]["agent_id"]
        await s.control("blazemeter", change={"ships": {ship: {"up": False}}})
        await s.until_values(
            f'loadfleet_agent_failure{{agent_id="{ship}",reason="no_heartbeat"}}', [1]
        )
        passed = 'loadfleet_run_passed{source="acme"}'
        await s.until_values(f"max({passed}) - min({passed})", [1])
        await s.until_values('sum by (run_id) (loadfleet_run_phase{source="acme"}) != 1', [])

        # Eggplant: an agent that is not connected is missing in the reply, and shown as down.
        connected = await s.some('loadfleet_agent_up{source="lab",agent=~"lab-.+"} == 1')
        tester = connected[0]["metric"]["agent"]
        await s.control("eggplant", change={"agents": {tester: {"up": False}}})
        await s.until_values(
            f'loadfleet_agent_failure{{agent="{tester}",reason="not_connected"}}', [1]
        )

        # An outage of one vendor leaves the others' readings and pace alone.
        await s.control("blazemeter", fault="hang")
        await s.until_values('loadfleet_source_up{source="acme"}', [0])
        await s.until_values('count(loadfleet_agent_up{source="acme"})', [])
        await s.until_values('count(loadfleet_source_up{source=~"prod|lab"} == 1)', [2])
        success = "loadfleet_exporter_poll_last_success_timestamp_seconds"
        oldest = f'min({success}{{source=~"prod|lab",task=~"agents|controllers"}})'
        before = (await s.some(oldest))[0]["value"][1]
        await s.until_values(f"{oldest} > bool {before}", [1])
        await s.until_values('loadfleet_source_up{source="acme"}', [0])
