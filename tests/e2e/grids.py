"""A daemon beside real load generators, with an Alertmanager that it pages."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from exporter.simulator.server import serve
from tests.faults.receiver import Receiver
from tests.support.processes import daemon, fetch
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.processes import Process


AGENT_DOWN = "LoadFleetAgentUnreachable"
SOURCE_DOWN = "LoadFleetSourceDown"

#: The scale of the alerts' times: five minutes become two seconds.
SCALE = 0.006


class Watched:
    """The exporter's view of real programs.

    Attributes:
        pages: The notifications.
    """

    def __init__(self, url: str, process: Process, receiver: Receiver) -> None:
        self.url = url
        self.process = process
        self._receiver = receiver

    async def samples(self, name: str) -> dict[str, float]:
        """Return a family's samples by the value of their first label that is not common."""
        page = await fetch(f"{self.url}/metrics")
        found = {}
        for line in page.splitlines():
            if line.startswith(f"loadfleet_{name}{{"):
                labels, _, value = line.rpartition(" ")
                pairs = re.findall(r'(\w+)="([^"]*)"', labels)
                own = [text for key, text in pairs if key not in ("provider", "source")]
                found[own[0] if own else ""] = float(value)
        return found

    async def value(self, name: str) -> float | None:
        """Return the one sample of a family, `None` if there is none."""
        return next(iter((await self.samples(name)).values()), None)

    async def page(self) -> str:
        """Return the text of `/metrics`, the API and the board."""
        paths = ("/metrics", "/api/v1/targets", "/api/v1/sources", "/")
        return "\n".join([await fetch(f"{self.url}{path}") for path in paths])

    async def reasons(self) -> dict[str, str]:
        """Return the reasons of agents that are down."""
        page = await fetch(f"{self.url}/metrics")
        pattern = r'loadfleet_agent_failure{.*?agent_id="([^"]*)".*?reason="([^"]*)"'
        return dict(re.findall(pattern, page))

    async def agents(self) -> dict[str, float]:
        """Return the states of the agents, without unknown ones."""
        return await self.samples("agent_up")

    async def until_agents(self, expected: dict[str, float]) -> None:
        """Wait for states of the agents."""

        async def so() -> bool:
            return expected == await self.agents()

        await until(so)

    async def until_controller(self, address: str) -> None:
        """Wait until exactly the master or hub is up."""

        async def so() -> bool:
            return {address: 1} == await self.samples("controller_up")

        await until(so)

    async def until_polled(self, polls: int = 3) -> None:
        """Wait for further successful polls of the first task."""
        seen: set[float] = set()

        async def enough() -> bool:
            rows = json.loads(await fetch(f"{self.url}/api/v1/sources"))["data"]["sources"]
            times = (task["last_success_timestamp_seconds"] for task in rows[0]["tasks"])
            seen.add(next(times))
            return len(seen) > polls

        await until(enough)

    def told(self, alert: str, target: str = "") -> list[str]:
        """Return the states of an alert's notifications: `firing`, `resolved`."""
        return self._receiver.states(alert, target)

    def accused(self) -> set[str]:
        """Return the agents of all notifications."""
        return {page.target for page in self._receiver.pages if page.alertname == AGENT_DOWN}


@asynccontextmanager
async def watching(folder: Path, source: dict[str, Any]) -> AsyncIterator[Watched]:
    """Run the daemon over one source, polled every other second.

    The interval is not shorter: if a busy machine lost several polls, the guard would hold calls.
    """
    receiver = Receiver()
    async with serve(receiver.app()) as alertmanager:
        configuration = {
            "defaults": {"interval": "2s", "timeout": "1900ms", "retries": 0},
            "sources": [source],
            "alerting": {
                "alertmanagers": [alertmanager],
                "thresholds": {"for_scale": SCALE},
                "evaluation_interval": "200ms",
            },
            "state": {"path": str(folder / "state")},
        }
        async with daemon(folder, configuration) as (url, process):
            yield Watched(url, process, receiver)
