"""Crowds of clients and huge fleets, whose answers are bounded in time and memory."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
import tracemalloc
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.config.address import Address
from exporter.conformance.trial import Trial, select
from exporter.fleet.store import Snapshot
from exporter.polling.engine import Engine
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.web.app import create_app
from exporter.web.server.room import PLACES, SPARE
from exporter.web.server.uvicorn_server import WebServer
from tests.support.candidates import CANDIDATES
from tests.support.fleet import AGENT
from tests.support.processes import daemon, fetch
from tests.support.wait import until
from tests.web.fakes import ExposingView


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.fleet.readings import Agent


GET = "GET {path} HTTP/1.1\r\nHost: exporter\r\n{more}\r\n"

#: The status of a client that got no answer.
CUT = 0

#: The number of samples of an agent.
SAMPLES_OF_AGENT = 14


def agents(count: int) -> tuple[Agent, ...]:
    """Make agents that have just been polled."""
    assert AGENT.state is not None
    state = msgspec.structs.replace(AGENT.state, read_at=SYSTEM_CLOCK.now(), up=True, reason=None)
    return tuple(
        msgspec.structs.replace(AGENT, agent_id=str(number), agent=f"agent-{number}", state=state)
        for number in range(count)
    )


async def engine_with(count: int) -> Engine:
    """Make an engine that knows a fleet and has its page ready."""
    engine = Engine()
    engine.store.put(
        Snapshot(
            provider="realload",
            source="prod",
            task="agents",
            readings=agents(count),
            taken=SYSTEM_CLOCK.now(),
            stale_after=3600.0,
        )
    )
    await engine.exposition.refresh()
    return engine


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(port: int, path: str = "/metrics", more: str = "") -> tuple[int, bytes]:
    """Ask over a new connection, and return status and body."""
    return await ask_over(await asyncio.open_connection("127.0.0.1", port), path, more)


async def ask_over(
    connection: Streams, path: str = "/metrics", more: str = ""
) -> tuple[int, bytes]:
    """Ask, return status and body, and leave; the status is `CUT` if there is no answer."""
    reader, writer = connection
    try:
        more = f"Connection: close\r\n{more}"
        writer.write(GET.format(path=path, more=more).encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    except ConnectionError:
        return CUT, b""
    finally:
        writer.transport.abort()
    return int(head.split()[1]) if head else CUT, body


def resident_bytes(pid: int) -> int:
    """Return the memory of a process."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(fields["VmRSS"].split()[0]) * 1024


async def test_a_thousand_scrapes_at_once(tmp_path: Path) -> None:
    """A thousand scrapes at once must each get a page or a refusal, and leave nothing behind."""
    fleet = SimulatorOptions(still=True, agents=200)
    async with (
        Simulation(fleet) as simulation,
        daemon(tmp_path, simulation.configuration()) as (url, process),
    ):

        async def complete() -> bool:
            return (await fetch(f"{url}/metrics")).count("\nloadfleet_agent_up{") >= 199

        await until(complete)
        port = int(url.rpartition(":")[2])
        before = resident_bytes(process.process.pid)

        async with asyncio.timeout(60):
            # All connect before the first request, so that early clients have to be served too.
            connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1_000)]
            answers = await asyncio.gather(
                *(ask_over(each, more="Accept-Encoding: gzip\r\n") for each in connections)
            )
        after = resident_bytes(process.process.pid)
        status, page = await ask(port)

        assert 0 == await process.stop()

    counts = Counter(status for status, _ in answers)
    assert {200, 503, CUT} >= counts.keys()
    # The earliest connections without a request were closed for later ones.
    assert counts[CUT] <= 1_000 - PLACES - SPARE
    assert counts[200] >= 40
    for answered, body in answers:
        if answered == 200:
            assert gzip.decompress(body).count(b"\nloadfleet_agent_up{") >= 199
    assert 200 == status
    assert page.count(b"\nloadfleet_agent_up{") >= 199
    assert after - before < 64 << 20
    assert "Traceback" not in process.errors


@asynccontextmanager
async def slow_client(port: int, said: bytes) -> AsyncIterator[None]:
    """Send something with a small receive buffer, and never read."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, said)
        yield


async def test_five_hundred_slow_clients() -> None:
    """Clients that never finish a request, or never read, must not slow others down."""
    view = ExposingView((await engine_with(7_000)).exposition)
    server = WebServer(create_app(view), [Address("127.0.0.1", 0)])
    await server.start()
    port = server.addresses[0].port
    said = [
        GET.format(path="/metrics", more="").encode(),
        GET.format(path="/metrics?source=prod", more="").encode(),
        GET.format(path="/metrics", more="Accept-Encoding: gzip\r\n").encode(),
        b"GET /metrics HTTP/1.1\r\nHost: exp",
        b"",
    ]
    page = len((await ask(port))[1])
    tracemalloc.start()
    try:
        async with AsyncExitStack() as stack:
            for number in range(500):
                await stack.enter_async_context(slow_client(port, said[number % len(said)]))
            answers = [await ask(port) for _ in range(3)]
            memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await server.stop(0)

    assert 8_000_000 < page
    assert [200] * 3 == [status for status, _ in answers]
    assert {7_000} == {body.count(b"\nloadfleet_agent_up{") for _, body in answers}
    assert memory < 200 << 20


async def test_a_million_samples() -> None:
    """A million samples must be rendered without holding the loop."""
    longest = 0.0

    async def turn() -> None:
        nonlocal longest
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            # This thread's CPU time, so that a busy machine does not count.
            longest = max(longest, -last + (last := time.thread_time()))

    fleet = agents(1_000_000 // SAMPLES_OF_AGENT + 1)
    engine = Engine()
    turning = asyncio.create_task(turn())
    await asyncio.sleep(0)
    engine.store.put(
        Snapshot(
            provider="realload",
            source="prod",
            task="agents",
            readings=fleet,
            taken=SYSTEM_CLOCK.now(),
            stale_after=3600.0,
        )
    )
    await engine.exposition.refresh()
    engine.exposition.metrics(accept_encoding="gzip")
    turning.cancel()
    started = time.thread_time()
    page = engine.exposition.metrics(accept_encoding="gzip")
    seconds = time.thread_time() - started

    assert 1_000_000 <= gzip.decompress(page.body).count(b"\nloadfleet_agent_")
    assert len(page.body) < 16 << 20
    assert longest < 1.0
    assert seconds < 0.1


async def test_an_inventory_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """A list above `max_reply_bytes` must be a failed poll, and not fill the memory."""
    (realload,) = (each for each in CANDIDATES if each.name == "realload")
    fleet = SimulatorOptions(still=True, agents=2_000)
    async with Trial({"prod": realload}, tmp_path, options=fleet, max_reply_bytes="64KiB") as trial:
        await trial.engine.poll_once()

    assert "decode" in trial.failures()["prod"]
    assert {} == select(trial.page(), "loadfleet_agent_up")
