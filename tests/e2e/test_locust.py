"""A real Locust, with a master and two workers that come and go, and the exporter's readings."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.e2e.grids import AGENT_DOWN, SOURCE_DOWN, Watched, watching
from tests.support.processes import answers, fetch, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.processes import Process


HOST = socket.gethostname()
FIRST, SECOND = HOST, f"{HOST}/2"

#: The time for which a stopped worker is not listed.
STOP_SECONDS = 5

#: Users without a server, every second request of which fails.
LOCUSTFILE = """
from locust import User, constant_throughput, task


class Visitor(User):
    wait_time = constant_throughput(10)

    @task
    def visit(self):
        for error in (None, OSError("canary")):
            self.environment.events.request.fire(
                request_type="GET", name="/canary", response_time=20, response_length=1,
                exception=error, context={},
            )
"""


class Cluster:
    """The programs of a master with two workers."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._port, web = free_port(), free_port()
        self._web = f"127.0.0.1:{web}"
        self.url = f"http://{self._web}"
        self._started = 0
        (folder / "locustfile.py").write_text(LOCUSTFILE)
        self.master: Process

    async def _start(self, *arguments: str) -> Process:
        self._started += 1
        return await self._stack.enter_async_context(
            running(
                require("locust"),
                f"--locustfile={self._folder / 'locustfile.py'}",
                *arguments,
                folder=self._folder,
                name=f"locust-{self._started}",
            )
        )

    async def begin(self) -> None:
        """Start the master and wait for its page."""
        self.master = await self._start(
            "--master",
            "--master-bind-host=127.0.0.1",
            f"--master-bind-port={self._port}",
            "--web-host=127.0.0.1",
            f"--web-port={self._web.rpartition(':')[2]}",
            f"--stop-timeout={STOP_SECONDS}",
        )
        await answers(self.url, self.master)

    async def worker(self) -> Process:
        """Start a worker."""
        return await self._start(
            "--worker", "--master-host=127.0.0.1", f"--master-port={self._port}"
        )

    async def both(self) -> bool:
        """Return whether both workers are there."""
        reply = json.loads(await fetch(f"{self.url}/stats/requests"))
        count: int = reply["worker_count"]
        return count == 2

    async def swarm(self, users: int) -> None:
        """Start a test, as on Locust's page."""
        await self._press("swarm", user_count=users, spawn_rate=users)

    async def stop(self) -> None:
        """Stop the test, as on Locust's page."""
        await self._press("stop")

    async def _press(self, path: str, **fields: int) -> None:
        request = Request(f"{self.url}/{path}", data=urlencode(fields).encode())  # noqa: S310 - loopback
        reply = await asyncio.to_thread(urlopen, request, timeout=20)
        reply.close()


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        one = Cluster(folder, stack)
        await one.begin()
        yield one


async def in_phase(watched: Watched, phase: str) -> bool:
    """Return whether there is one run, in a phase."""
    page = await watched.page()
    lines = [line for line in page.splitlines() if line.startswith("loadfleet_run_phase{")]
    return [1.0] == [float(line.rpartition(" ")[2]) for line in lines if f'phase="{phase}"' in line]


async def test_a_worker_is_killed_and_a_test_is_stopped(tmp_path: Path) -> None:
    """A killed worker and a killed master must page once each, and a stopped test not at all."""
    async with cluster(tmp_path) as locust:
        source = {"provider": "locust", "url": locust.url}
        _, killed = await locust.worker(), await locust.worker()
        await until(locust.both)
        async with watching(tmp_path, source) as watched:
            await watched.until_agents({FIRST: 1, SECOND: 1})
            await watched.until_controller(locust.url.removeprefix("http://"))

            await locust.swarm(4)
            await until(lambda: in_phase(watched, "running"))
            await until(lambda: _loaded(watched))
            page = await watched.page()
            assert re.search(r'loadfleet_controller_info{.*version="2\.\d+\.\d+"', page)
            assert "canary" not in page

            await killed.stop(signal.SIGKILL)
            await until(watched.reasons)
            ((dead, reason),) = (await watched.reasons()).items()
            assert "no_heartbeat" == reason
            assert {FIRST: 1, SECOND: 1} | {dead: 0} == await watched.agents()
            await until(lambda: ["firing"] == watched.told(AGENT_DOWN, dead))
            assert await in_phase(watched, "running")

            await locust.worker()
            await watched.until_agents({FIRST: 1, SECOND: 1})
            await until(lambda: ["firing", "resolved"] == watched.told(AGENT_DOWN, dead))

            await locust.stop()
            await watched.until_agents({})
            await watched.until_agents({FIRST: 1, SECOND: 1})
            assert await in_phase(watched, "ended")

            await locust.master.stop(signal.SIGKILL)
            await until(lambda: ["firing"] == watched.told(SOURCE_DOWN))
            assert {"": 0} == await watched.samples("source_up")

            assert {dead} == watched.accused()
            assert ["firing", "resolved"] == watched.told(AGENT_DOWN, dead)
            assert "Traceback" not in watched.process.errors


async def _loaded(watched: Watched) -> bool:
    """Return whether the numbers are those of four users with every second request failed."""
    users = await watched.samples("locust_agent_users")
    requests = await watched.value("locust_run_requests") or 0
    failures = await watched.value("locust_run_failures") or 0
    mean = await watched.value("locust_run_response_mean_seconds")
    return (
        {FIRST, SECOND} == users.keys()
        and 4 == sum(users.values()) == await watched.value("locust_run_users")
        and requests > 8
        and abs(requests - 2 * failures) < 8
        and 0.02 == mean
    )
