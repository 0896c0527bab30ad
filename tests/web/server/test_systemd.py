from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from exporter.clock import SYSTEM_CLOCK
from exporter.errors import StartError
from exporter.settings.sections import WebSettings
from exporter.web.server import systemd
from exporter.web.server.make import make_server
from exporter.web.server.uvicorn_server import WebServer
from tests.web.server.test_uvicorn_server import LOCAL, connected, hello


if TYPE_CHECKING:
    from collections.abc import Iterator


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
        return systemd.inherited(environ(), pid=os.getpid(), first_descriptor=listening.fileno())

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

    with pytest.raises(StartError, match="systemd handed no socket over"):
        await server.start()


def test_sockets_of_other_kinds_are_start_errors() -> None:
    """A unit with a datagram, a Unix or an accepted socket is told what it needs."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as silent,
    ):
        for sock in (datagram, local, silent):
            with pytest.raises(StartError, match="no listening TCP socket"):
                systemd.inherited(environ(), pid=os.getpid(), first_descriptor=sock.fileno())


def test_a_descriptor_that_is_none_is_a_start_error() -> None:
    """A count that promises too much ends in a message, and what was taken is given back."""
    with pytest.raises(StartError, match="no listening TCP socket"):
        systemd.inherited(environ(), pid=os.getpid(), first_descriptor=1_000_000)
