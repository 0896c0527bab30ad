"""An exporter as exporters are mostly written: httpx, Gauge objects, `start_http_server`."""

from __future__ import annotations

import argparse
import asyncio

import httpx
from prometheus_client import CollectorRegistry, Gauge, start_http_server


_LABELS = ("provider", "source", "agent_id", "agent")
_FIELDS = (
    "limitMaxUsersPerJob",
    "limitMaxJobDurationSeconds",
    "systemTime",
    "deltaTimeMillis",
    "agentStartupTimeStamp",
    "httpExecuteTimeMillis",
)
_FLAGS = ("up", "active", "outdated", "protected", "reachable", "known")


class Naive:
    """Twelve samples per agent, as many as the exporter has."""

    def __init__(self, url: str, concurrency: int) -> None:
        self.registry = CollectorRegistry()
        names = (*_FIELDS, *_FLAGS)
        self._gauges = {
            name: Gauge(f"naive_{name}", name, _LABELS, registry=self.registry) for name in names
        }
        self._url = url
        self._places = asyncio.Semaphore(concurrency)
        self._client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))

    async def poll(self) -> None:
        """Ping every agent."""
        listed = await self._client.post(self._url, json={"action": "getMeasuringAgents"})
        agents = listed.json()["measuringAgentsArray"]
        await asyncio.gather(*(self._ping(agent) for agent in agents))

    async def _ping(self, agent: dict[str, object]) -> None:
        body = {"agentId": agent["agentId"], "action": "pingMeasuringAgent"}
        async with self._places:
            reply = await self._client.post(self._url, json=body)
        found = reply.json()["agentResponse"]
        labels = ("realload", "portal", str(agent["agentId"]), str(agent["agentDescription"]))
        for name in _FIELDS:
            self._gauges[name].labels(*labels).set(found[name])
        for name in _FLAGS:
            self._gauges[name].labels(*labels).set(1)


async def serve(naive: Naive, interval: float) -> None:
    """Poll until killed."""
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        await naive.poll()
        await asyncio.sleep(max(0.0, interval - (loop.time() - started)))


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    given = parser.parse_args()
    naive = Naive(given.url, given.concurrency)
    start_http_server(given.port, addr="127.0.0.1", registry=naive.registry)
    asyncio.run(serve(naive, given.interval))


if __name__ == "__main__":
    main()
