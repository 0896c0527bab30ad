"""The whole chain: simulated portal, daemon, real Prometheus."""

from __future__ import annotations

import json
import urllib.parse
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.servers import require

from tests.support.processes import EXPORTER, Process, answers, fetch, free_port, running
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Stack:
    """The three programs and what a test asks of them."""

    def __init__(self, *, portal: str, daemon: str, prometheus: str, simulator: Process) -> None:
        self.portal = portal
        self.daemon = daemon
        self.prometheus = prometheus
        self.simulator = simulator

    async def control(self, **command: Any) -> None:
        """Change the simulated world."""
        reply = json.loads(await fetch(f"{self.portal}/_control", data=command))
        assert "error" not in reply, reply

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus."""
        query = urllib.parse.urlencode({"query": expression})
        reply = json.loads(await fetch(f"{self.prometheus}/api/v1/query?{query}"))
        assert "success" == reply["status"], reply
        result: list[dict[str, Any]] = reply["data"]["result"]
        return result

    async def values(self, expression: str) -> list[float]:
        return [float(series["value"][1]) for series in await self.query(expression)]

    async def until_values(self, expression: str, expected: list[float]) -> None:
        """Wait until Prometheus answers so."""
        seen: list[float] = []

        async def answered() -> bool:
            nonlocal seen
            seen = await self.values(expression)
            return seen == expected

        try:
            await until(answered, timeout_seconds=40)
        except TimeoutError:
            pytest.fail(f"{expression}: expected {expected}, last seen {seen}")


@asynccontextmanager
async def stack(folder: Path) -> AsyncIterator[Stack]:
    """Run simulator, daemon and Prometheus with clocks compressed by configuration."""
    require("prometheus")
    async with running(
        *EXPORTER,
        "simulate",
        "--agents",
        "20",
        "--realload-port",
        str(port := free_port()),
        folder=folder,
        name="simulator",
    ) as simulator:
        portal = f"http://127.0.0.1:{port}"
        await answers(f"{portal}/_control", simulator)
        await until(lambda: "sources:" in simulator.output)
        configuration = yaml.safe_load(simulator.output)
        configuration["sources"] = [
            source for source in configuration["sources"] if source["provider"] == "realload"
        ]
        configuration["defaults"] = {"interval": "1s", "timeout": "900ms", "stale_after": "4s"}
        configuration["sources"][0]["name"] = "prod"
        (folder / "loadfleet.yml").write_text(yaml.safe_dump(configuration))
        await fetch(f"{portal}/_control", data={"life": False})
        daemon_port = free_port()
        async with running(
            *EXPORTER,
            f"--config.file={folder / 'loadfleet.yml'}",
            f"--web.listen-address=127.0.0.1:{daemon_port}",
            folder=folder,
            name="daemon",
        ) as daemon:
            await answers(f"http://127.0.0.1:{daemon_port}/metrics", daemon)
            async with prometheus(folder, f"127.0.0.1:{daemon_port}") as url:
                yield Stack(
                    portal=portal,
                    daemon=f"http://127.0.0.1:{daemon_port}",
                    prometheus=url,
                    simulator=simulator,
                )
        assert "Traceback" not in daemon.errors


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[str]:
    """Run a Prometheus that scrapes one target every second."""
    scrape = {"job_name": "loadfleet", "static_configs": [{"targets": [target]}]}
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]})
    )
    port = free_port()
    async with running(
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        folder=folder,
        name="prometheus",
    ) as process:
        url = f"http://127.0.0.1:{port}"
        await answers(f"{url}/-/ready", process)
        yield url


@pytest.mark.timeout(300)
async def test_prometheus_knows_the_fleet(tmp_path: Path) -> None:
    """What happens to the fleet must be what Prometheus says, and nothing else."""
    async with stack(tmp_path) as s:
        await s.until_values('up{job="loadfleet"}', [1])
        await s.until_values('loadfleet_source_up{source="prod"}', [1])
        await s.until_values("count(loadfleet_agent_active)", [20])
        up = [series["metric"] for series in await s.query("loadfleet_agent_up == 1")]
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

        accused = await s.values("count(loadfleet_agent_up == 0)")
        await s.control(fault="unavailable")
        await s.until_values('loadfleet_source_up{source="prod"}', [0])
        assert accused == await s.values("count(loadfleet_agent_up == 0)")
        await s.until_values("count(loadfleet_agent_up)", [])
        await s.until_values('loadfleet_source_up{source="prod"}', [0])

        await s.control(fault="none")
        await s.until_values(agent, [1])
        await s.until_values('loadfleet_source_up{source="prod"}', [1])
