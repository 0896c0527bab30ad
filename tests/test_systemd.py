from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from exporter.simulator.server import Simulation
from exporter.systemd import ALIVE_SECONDS, Notifier
from tests.support.clock import FakeClock, settle
from tests.support.processes import EXPORTER, running
from tests.support.wait import until


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
        """Everything it was told so far."""
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
    """Started from a terminal there is nobody to tell, and that is no failure."""
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
        """What is not healthy must be restarted by the manager."""
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
