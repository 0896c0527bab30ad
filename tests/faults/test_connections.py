"""Crowds of idle, silent or unread connections, which must not keep others from an answer."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter import process
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.web.server.room import PLACES, SPARE
from tests.support.certificates import Authority
from tests.support.processes import EXPORTER, Process, free_port, running
from tests.support.wait import until


if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence


#: The program without uvloop.
WITHOUT_UVLOOP = (
    sys.executable,
    "-c",
    "import sys; sys.modules['uvloop'] = None; from exporter.cli import main; sys.exit(main())",
)

LOOPS = pytest.mark.parametrize(
    "program", [EXPORTER, WITHOUT_UVLOOP], ids=["installed", "without uvloop"]
)

FLEET = SimulatorOptions(still=True, agents=100, delay_seconds=0.0)


class Served:
    """A daemon, and the means to connect to it."""

    def __init__(self, started: Process, port: int, tls: ssl.SSLContext | None) -> None:
        self.process = started
        self.port = port
        self._tls = tls

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection, which the caller ends."""
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self._tls)

    async def ask(self, path: str) -> int:
        """Ask over a new connection, return the status."""
        reader, writer = await self.connect()
        try:
            writer.write(get(path, "Connection: close\r\n"))
            return int((await reader.read()).split()[1])
        finally:
            writer.transport.abort()

    async def lives(self) -> set[int]:
        """Ask for health and readiness several times, return the statuses."""
        paths = ("/-/healthy", "/-/ready") * 5
        return {await self.ask(path) for path in paths}

    @asynccontextmanager
    async def crowd(self, count: int, said: bytes = b"") -> AsyncIterator[None]:
        """Open so many connections, send something without TLS, and keep them."""
        with ExitStack() as stack:
            for _ in range(count):
                sock = stack.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, ("127.0.0.1", self.port))
                await loop.sock_sendall(sock, said)
            yield


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: exporter\r\n{more}\r\n".encode()


@asynccontextmanager
async def serving(
    folder: Path, program: Sequence[str], *flags: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Served]:
    """Run the daemon on a simulated fleet, and check that it stops in order."""
    process.raise_descriptor_limit()  # ours, for the crowd
    async with Simulation(FLEET) as simulation:
        path = folder / "loadfleet.yml"
        path.write_text(yaml.safe_dump(simulation.configuration()))
        port = free_port()
        async with running(
            *program,
            f"--config.file={path}",
            f"--web.listen-address=127.0.0.1:{port}",
            *flags,
            folder=folder,
            name="daemon",
        ) as started:
            served = Served(started, port, tls)

            async def ready() -> bool:
                assert not started.ended, started.errors
                return "event=started" in started.errors and await served.ask("/-/ready") == 200

            await until(ready)
            yield served
            assert 0 == await started.stop()
    assert "Traceback" not in started.errors
    assert "logger=asyncio" not in started.errors


@LOOPS
async def test_crowds(tmp_path: Path, program: Sequence[str]) -> None:
    """With more connections than descriptors, the server must serve on, and the log stay quiet.

    The crowd sends nothing, keeps answered connections, or asks without reading. Only in the last
    case may requests be refused, and even then health checks must be answered.
    """
    limited = ("prlimit", "--nofile=1024:1024", *program)
    pages = get("/metrics") * 40  # more than fits into the sockets
    async with serving(tmp_path, limited) as served:

        async def busy() -> bool:
            return await served.ask("/metrics") == 503

        kept = await served.connect()
        answers = [await still(kept)]
        async with served.crowd(1_500):
            statuses = await served.lives()
            scrapes = [await served.ask("/metrics")]
            answers.append(await still(kept))
        kept[1].transport.abort()
        async with served.crowd(PLACES + SPARE + 50, get("/-/healthy")):
            statuses |= await served.lives()
            scrapes.append(await served.ask("/metrics"))
        async with served.crowd(PLACES, pages):
            await until(busy)
            statuses |= await served.lives()
            for _ in range(20):
                assert await busy()

        async def free() -> bool:
            return not await busy()

        await until(free)
        # One refused request is logged at once, and the number of the others at the end.
        at_once = served.process.errors.count("event=requests_refused")

    told = served.process.errors
    assert {200} == statuses
    assert [200, 200] == scrapes
    assert [True, True] == answers
    assert (1, 2) == (at_once, told.count("event=requests_refused"))
    assert not any(event in told for event in ("accept_failed", "few_descriptors", "poll_failed"))


@LOOPS
async def test_hardly_any_descriptors(tmp_path: Path, program: Sequence[str]) -> None:
    """With few descriptors, the server must log the remedy and serve on in spite of a crowd."""
    limited = ("prlimit", "--nofile=32:64", *program)
    async with serving(tmp_path, limited) as served:
        async with served.crowd(300):
            statuses = await served.lives()
        limits = limits_of(served.process)

    told = served.process.errors
    assert {200} == statuses
    assert "64" == limits.partition("Max open files")[2].split()[0]
    assert "raise it by" in told
    assert not any(event in told for event in ("accept_failed", "poll_failed"))


def limits_of(started: Process) -> str:
    return Path(f"/proc/{started.process.pid}/limits").read_text()


async def still(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    """Ask over a kept connection, and return whether there is an answer."""
    reader, writer = connection
    writer.write(get("/-/healthy"))
    return (await reader.readuntil(b"healthy\n")).startswith(b"HTTP/1.1 200")


@LOOPS
async def test_tls_that_never_begins(tmp_path: Path, program: Sequence[str]) -> None:
    """Connections without a TLS handshake must make room for those with one."""
    authority = Authority(tmp_path / "tls")
    authority.issue()
    web = authority.configure()
    limited = ("prlimit", "--nofile=700:700", *program)
    flag = f"--web.config.file={web}"
    async with serving(tmp_path, limited, flag, tls=authority.client()) as served:
        kept = await served.connect()
        answers = [await still(kept)]
        async with served.crowd(700):
            statuses = await served.lives()
            answers.append(await still(kept))
        kept[1].transport.abort()

    assert {200} == statuses
    assert [True, True] == answers
    assert "event=accept_failed" not in served.process.errors
