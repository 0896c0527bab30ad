from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from exporter.clock import SYSTEM_CLOCK
from exporter.errors import StartError
from exporter.settings.sections import WebSettings
from exporter.simulator.server import Simulation
from exporter.systemd import ALIVE_SECONDS, Notifier, inherited
from exporter.web.app import make_server
from exporter.web.server.uvicorn_server import WebServer
from tests.support.clock import FakeClock, settle
from tests.support.processes import EXPORTER, running
from tests.support.wait import until
from tests.web.server.test_uvicorn_server import LOCAL, connected, hello


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)
        self._told: list[str] = []

    @property
    def told(self) -> list[str]:
        """The messages received so far."""
        while True:
            try:
                self._told.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self._told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def notifier(tmp_path: Path, manager: Manager) -> Notifier:
    return Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "notify")})


def test_readiness_is_told(notifier: Notifier, manager: Manager) -> None:
    """The manager must learn that the daemon listens."""
    notifier.ready()

    assert ["READY=1"] == manager.told


def test_an_abstract_socket_is_reached() -> None:
    """The manager may name a socket that is no file, by an @."""
    name = f"loadfleet-test-{id(object())}"
    manager = Manager(f"\0{name}")

    Notifier(f"@{name}").ready()

    assert ["READY=1"] == manager.told
    manager.close()


def test_without_a_manager_it_is_silent() -> None:
    """Without a service manager, notifications must be no failure."""
    Notifier.of({}).ready()


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    """The daemon must outlive whoever it reports to."""
    Notifier(str(tmp_path / "nobody")).ready()


def test_a_manager_that_does_not_read_holds_nobody(notifier: Notifier, manager: Manager) -> None:
    """A full socket must lose messages instead of blocking the event loop."""
    for _ in range(10_000):
        notifier.ready()

    assert 0 < len(manager.told) < 10_000


class TestFollow:
    async def test_the_watchdog_is_fed_on_time(self, notifier: Notifier, manager: Manager) -> None:
        """A healthy daemon must be heard of once per period."""
        clock = FakeClock()
        task = asyncio.create_task(
            notifier.follow(asyncio.Event(), healthy=lambda: True, clock=clock.clock)
        )

        await clock.advance(3 * ALIVE_SECONDS)

        assert 4 * ["WATCHDOG=1"] == manager.told
        task.cancel()

    async def test_a_stuck_daemon_starves_the_watchdog(
        self, notifier: Notifier, manager: Manager
    ) -> None:
        """A daemon that is not healthy must stop notifying the watchdog, which then restarts it."""
        clock = FakeClock()
        task = asyncio.create_task(
            notifier.follow(asyncio.Event(), healthy=lambda: False, clock=clock.clock)
        )

        await clock.advance(3 * ALIVE_SECONDS)

        assert [] == manager.told
        task.cancel()

    async def test_the_end_is_told_at_once(self, notifier: Notifier, manager: Manager) -> None:
        """A stop must be told when it begins and not a period later."""
        stop = asyncio.Event()
        task = asyncio.create_task(
            notifier.follow(stop, healthy=lambda: True, clock=FakeClock().clock)
        )
        await settle()

        stop.set()
        await asyncio.wait_for(task, 5)

        assert ["WATCHDOG=1", "STOPPING=1"] == manager.told


async def test_the_daemon_tells_its_manager(tmp_path: Path, manager: Manager) -> None:
    """A real daemon must be ready, alive and stopping, in this order, for its manager."""
    async with Simulation() as simulation:
        portal = simulation.configuration()["sources"][0]
        environ = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "LOADFLEET_WEB_LISTEN_ADDRESS": "127.0.0.1:0",
            "LOADFLEET_REALLOAD_URL": portal["url"],
            "LOADFLEET_REALLOAD_AUTH_TOKEN": portal["auth_token"],
        }
        async with running(*EXPORTER, folder=tmp_path, name="daemon", environ=environ) as process:
            await until(lambda: process.ended or {"READY=1", "WATCHDOG=1"} <= set(manager.told))
            before = list(manager.told)

            code = await process.stop(signal.SIGTERM)

    assert 0 == code, process.errors
    assert "STOPPING=1" not in before
    assert "STOPPING=1" == manager.told[-1]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def environ(*, count: str = "1", pid: int | None = None) -> dict[str, str]:
    return {"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid() if pid is None else pid)}


async def test_serves_on_an_inherited_socket_again_and_again(listening: socket.socket) -> None:
    """The socket is systemd's: it is served on, and a stop leaves it open for the next start."""
    port = listening.getsockname()[1]

    def inherit() -> list[socket.socket]:
        return inherited(environ(), pid=os.getpid(), first_descriptor=listening.fileno())

    server = WebServer(hello, [LOCAL], sockets=inherit)
    answers = []
    for _ in range(2):
        await server.start()
        async with connected(server) as client:
            answers.append((server.addresses[0].port, await client.ask()))
        await server.stop(0)

    assert [(port, (200, "hello"))] * 2 == answers
    assert not os.get_inheritable(listening.fileno())


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"LISTEN_FDS": "1"},
        environ(pid=1),
        environ(count="0"),
        environ(count="many"),
        environ(count=""),
    ],
)
async def test_no_socket_is_a_start_error(told: dict[str, str]) -> None:
    """Without its socket unit the service must not quietly listen somewhere else."""
    web = WebSettings(systemd_socket=True)
    server = make_server(hello, web, clock=SYSTEM_CLOCK, environ=told)

    with pytest.raises(StartError, match="systemd passed no socket"):
        await server.start()


def test_sockets_of_other_kinds_are_start_errors() -> None:
    """A socket that is no listening TCP socket must be an error at the start."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as silent,
    ):
        for sock in (datagram, local, silent):
            with pytest.raises(StartError, match="no listening TCP socket"):
                inherited(environ(), pid=os.getpid(), first_descriptor=sock.fileno())


def test_a_descriptor_that_is_none_is_a_start_error() -> None:
    """A count that promises too much ends in a message, and what was taken is given back."""
    with pytest.raises(StartError, match="no listening TCP socket"):
        inherited(environ(), pid=os.getpid(), first_descriptor=1_000_000)
