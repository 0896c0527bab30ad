"""A portal that answers as fast as Python can, so that its client dominates the measurement.

It knows two actions: the list of agents and the ping of an agent. `GET /rounds` returns the polls,
one entry per fetched list.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from functools import lru_cache
from typing import Any


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_FILLER = "x" * 120


class Portal:
    """The fleet, and the calls about it.

    Args:
        agents: The number of agents.
        delay: The duration of a ping, seconds.
        hanging: One of so many agents never answers; 0 for none.
    """

    def __init__(self, agents: int, delay: float, hanging: int) -> None:
        self.agents = agents
        self.delay = delay
        self.hanging = hanging
        self.rounds: list[dict[str, float]] = []

    def begin(self) -> bytes:
        """Answer with the list, which begins a poll."""
        self.rounds.append({"started": time.monotonic(), "pings": 0, "ended": 0.0})
        return _listing(self.agents)

    def hangs(self, agent: int) -> bool:
        """Return whether an agent never answers."""
        return bool(self.hanging) and agent % self.hanging == 0

    def pinged(self, agent: int) -> bytes:
        """Answer a ping, with other numbers each time."""
        if self.rounds:
            self.rounds[-1]["pings"] += 1
            self.rounds[-1]["ended"] = time.monotonic()
        return _ping(agent % 97, len(self.rounds))


class Connection(asyncio.Protocol):
    """A connection of the exporter, whose requests are one packet each."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._transport: Any = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        mark = lower.find(b"content-length:")
        length = int(lower[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
        if len(body) < length:
            return
        self._buffer = b""
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        portal = self._portal
        if head.startswith(b"GET"):
            self._send(json.dumps(portal.rounds).encode())
        elif b"pingMeasuringAgent" in body:
            agent = int(body.partition(b'"agentId":')[2].partition(b",")[0].rstrip(b"}"))
            if not portal.hangs(agent):
                self._later(agent)
        elif b"getMeasuringAgents" in body:
            self._send(portal.begin())
        else:
            self._send(b'{"isError":false}')

    def _later(self, agent: int) -> None:
        if self._portal.delay:
            asyncio.get_running_loop().call_later(
                self._portal.delay, lambda: self._send(self._portal.pinged(agent))
            )
        else:
            self._send(self._portal.pinged(agent))

    def _send(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(_HEAD % len(body) + body)


@lru_cache(maxsize=1)
def _listing(agents: int) -> bytes:
    items = [
        {
            "agentId": number,
            "agentActive": True,
            "agentDescription": f"load-{number}.example.com",
            "agentHost": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            "agentPort": 8080,
            "authToken": "",
        }
        for number in range(agents)
    ]
    return json.dumps({"measuringAgentsArray": items, "isError": False}).encode()


@lru_cache(maxsize=1024)
def _ping(agent: int, turn: int) -> bytes:
    response = {
        "pingFromRemoteIp": "203.0.113.5",
        "pingFromRemoteUserId": 13,
        "productVersion": "4.8.24",
        "limitMaxUsersPerJob": 500 + turn % 2,
        "limitMaxJobDurationSeconds": 300 + turn % 2,
        "osName": "Linux",
        "osVersion": "6.1.0-28-amd64",
        "javaVersion": "17.0.1",
        "javaVendor": "Eclipse Adoptium",
        "javaMaxMemory": f"{2048 + turn % 2} MB",
        "systemTime": 1_625_513_238_236 + turn,
        "deltaTimeMillis": agent * 7 + turn,
        "agentStartupTimeStamp": 1_622_836_702_172 + agent + turn,
        "httpExecuteTimeMillis": 200 + agent + turn,
        "remark": _FILLER,
    }
    return json.dumps({"agentResponse": response, "isError": False}).encode()


async def serve(port: int, portal: Portal) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(portal), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--agents", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--hanging", type=int, default=0)
    given = parser.parse_args()
    portal = Portal(given.agents, given.delay, given.hanging)
    try:
        import uvloop  # noqa: PLC0415 - it is an extra
    except ImportError:
        asyncio.run(serve(given.port, portal))
    else:
        uvloop.run(serve(given.port, portal))


if __name__ == "__main__":
    main()
