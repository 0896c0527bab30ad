"""systemd's side of a service: its notification protocol, and the sockets that it opens for us.

A notification is one datagram. It is sent only where `NOTIFY_SOCKET` names a socket, as under a
unit of `Type=notify`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

from exporter.errors import StartError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.clock import Clock


#: How often it is told that the daemon is well; a unit's `WatchdogSec` must be longer than twice.
ALIVE_SECONDS = 5.0

#: Where the sockets begin among the descriptors; the protocol's constant.
FIRST_DESCRIPTOR = 3


class Notifier:
    """Tells the service manager how the daemon is; silent where there is none."""

    def __init__(self, address: str = "") -> None:
        """Remember where to send to.

        Args:
            address: A socket's path, or its abstract name after an `@`; empty for silence.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """Make one for the service manager that started the process, if one did."""
        return cls(environ.get("NOTIFY_SOCKET", ""))

    def ready(self) -> None:
        """Tell the service manager that the daemon listens."""
        self._send("READY=1")

    async def follow(
        self, stop: asyncio.Event, *, healthy: Callable[[], bool], clock: Clock
    ) -> None:
        """Feed the watchdog while the daemon is healthy, and tell when it is about to end."""
        stopped = asyncio.ensure_future(stop.wait())
        while not stopped.done():
            if healthy():
                self._send("WATCHDOG=1")
            pause = asyncio.ensure_future(clock.sleep(ALIVE_SECONDS))
            await asyncio.wait((stopped, pause), return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A manager that is gone or slow must not stop the daemon; its own time limits notice.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.setblocking(False)
            channel.sendto(message.encode(), self._address)


def inherited(
    environ: Mapping[str, str], *, pid: int, first_descriptor: int = FIRST_DESCRIPTOR
) -> list[socket.socket]:
    """Return the sockets handed over by systemd, as they are described in sd_listen_fds(3).

    They are copies: closing them leaves the originals open for another start.

    Raises:
        StartError: None was handed over to this process, or one is not for TCP.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not count.isdecimal() or count == "0":
        raise StartError(
            "web.systemd_socket is set, but systemd handed no socket over;"
            " start the service by its .socket unit"
        )
    sockets: list[socket.socket] = []
    for descriptor in range(first_descriptor, first_descriptor + int(count)):
        try:
            os.set_inheritable(descriptor, False)
            sockets.append(socket.socket(fileno=os.dup(descriptor)))
            usable = _listens_for_tcp(sockets[-1])
        except OSError:
            usable = False
        if not usable:
            for sock in sockets:
                sock.close()
            raise StartError(
                f"what systemd handed over as descriptor {descriptor} is no listening TCP socket;"
                " a .socket unit needs ListenStream= with a port, and Accept=no"
            )
    return sockets


def _listens_for_tcp(sock: socket.socket) -> bool:
    for_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type is socket.SOCK_STREAM
    return for_tcp and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
