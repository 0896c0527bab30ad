"""A real Selenium Grid, with a hub and two nodes that come and go, and the exporter's readings."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.e2e.grids import AGENT_DOWN, SOURCE_DOWN, Watched, watching
from tests.support.processes import answers, fetch, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.processes import Process


#: Options for little memory and a quick start.
JAVA = {"JAVA_TOOL_OPTIONS": "-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}

#: A session whose capabilities contain a mail address.
SESSION = {
    "capabilities": {
        "alwaysMatch": {
            "browserName": "chrome",
            "custom:owner": "canary@example.com",
            "goog:chromeOptions": {"args": ["--headless=new", "--no-sandbox"]},
        }
    }
}


class Grid:
    """The programs of a hub with two nodes.

    Attributes:
        hub: The hub.
        addresses: The addresses of the nodes.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._events = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
        self.url = f"http://127.0.0.1:{free_port()}"
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self.hub: Process
        self._started = 0

    async def _start(self, role: str, address: str, **options: str) -> Process:
        self._started += 1
        host, _, port = address.rpartition(":")
        publish, subscribe = self._events
        options |= {"publish_events": publish, "subscribe_events": subscribe}
        named = ((f"--{name.replace('_', '-')}", value) for name, value in options.items())
        return await self._stack.enter_async_context(
            running(
                require("selenium-server"),
                role,
                "--host",
                host,
                "--port",
                port,
                *chain(*named),
                folder=self._folder,
                name=f"selenium-{self._started}",
                environ=JAVA,
            )
        )

    async def begin(self) -> None:
        """Start the hub and wait for its answer; nodes need a driver."""
        for program in ("java", "chromedriver"):
            require(program)
        address = self.url.removeprefix("http://")
        self.hub = await self._start("hub", address, healthcheck_interval="5")
        await answers(f"{self.url}/readyz", self.hub)

    async def node(self, address: str) -> Process:
        """Start a node, which finds the hub by itself."""
        return await self._start(
            "node",
            address,
            hub=self.url,
            heartbeat_period="5",
            detect_drivers="true",
            driver_implementation="chrome",
            max_sessions="1",
        )

    async def both(self) -> bool:
        """Return whether both nodes are there."""
        reply = json.loads(await fetch(f"{self.url}/status"))
        return len(reply["value"]["nodes"]) == 2

    async def open(self) -> str:
        """Open a session and return its path."""
        headers = {"Content-Type": "application/json; charset=utf-8"}
        request = Request(  # noqa: S310 - loopback
            f"{self.url}/session", data=json.dumps(SESSION).encode(), headers=headers
        )
        value: Any = json.loads(await asyncio.to_thread(_sent, request))["value"]
        return f"{self.url}/session/{value['sessionId']}"

    async def close(self, session: str) -> None:
        """Close a session."""
        await asyncio.to_thread(_sent, Request(session, method="DELETE"))  # noqa: S310 - loopback


def _sent(request: Request) -> bytes:
    with urlopen(request, timeout=60) as reply:  # noqa: S310 - loopback
        body: bytes = reply.read()
    return body


@asynccontextmanager
async def grid(folder: Path) -> AsyncIterator[Grid]:
    async with AsyncExitStack() as stack:
        one = Grid(folder, stack)
        await one.begin()
        yield one


async def test_a_node_is_killed_and_another_leaves(tmp_path: Path) -> None:
    """A killed node and a killed hub must page once each, and a node that leaves not at all."""
    async with grid(tmp_path) as one:
        first, second = one.addresses
        leaving, killed = await one.node(first), await one.node(second)
        await until(one.both)
        async with watching(tmp_path, {"provider": "selenium", "url": one.url}) as watched:
            await watched.until_agents({first: 1, second: 1})
            await watched.until_controller(one.url.removeprefix("http://"))
            assert 0 == await watched.value("selenium_queued_sessions")
            assert {first: 1, second: 1} == await watched.samples("selenium_agent_sessions_limit")

            session = await one.open()
            await until(lambda: _sessions(watched, 1))
            page = await watched.page()
            assert re.search(r'loadfleet_agent_info{.*version="4\.\d+\.\d+"', page)
            assert re.search(r'loadfleet_controller_info{.*version="4\.\d+\.\d+"', page)
            assert "canary" not in page
            assert session.rpartition("/")[2] not in page
            await one.close(session)
            await until(lambda: _sessions(watched, 0))

            await killed.stop(signal.SIGKILL)
            await watched.until_agents({first: 1, second: 0})
            assert {second: "no_heartbeat"} == await watched.reasons()
            await until(lambda: ["firing"] == watched.told(AGENT_DOWN, second))

            await one.node(second)
            await watched.until_agents({first: 1, second: 1})
            await until(lambda: ["firing", "resolved"] == watched.told(AGENT_DOWN, second))

            await leaving.stop(signal.SIGTERM)
            await watched.until_agents({second: 1})
            await watched.until_polled()

            await one.hub.stop(signal.SIGKILL)
            await until(lambda: ["firing"] == watched.told(SOURCE_DOWN))
            assert {"": 0} == await watched.samples("source_up")

            assert {second} == watched.accused()
            assert ["firing", "resolved"] == watched.told(AGENT_DOWN, second)
            assert "Traceback" not in watched.process.errors


async def _sessions(watched: Watched, count: int) -> bool:
    """Return whether all nodes together have a number of sessions."""
    return count == sum((await watched.samples("selenium_agent_sessions")).values())
