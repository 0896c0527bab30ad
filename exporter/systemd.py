"""Interfaces to systemd: its notification protocol and socket activation.

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


#: Interval of watchdog notifications. A unit's `WatchdogSec` must be more than twice as long.
ALIVE_SECONDS = 5.0

#: First descriptor of the sockets; SD_LISTEN_FDS_START in sd_listen_fds(3).
FIRST_DESCRIPTOR = 3


class Notifier:
    """Notifies the service manager of the daemon's state; does nothing if there is none."""

    def __init__(self, address: str = "") -> None:
        """Store the address.

        Args:
            address: Path of a socket, or its abstract name after an `@`; empty to send nothing.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """Return a notifier for the service manager that started the process, if any."""
        return cls(environ.get("NOTIFY_SOCKET", ""))

    def ready(self) -> None:
        """Notify the service manager that the daemon listens."""
        self._send("READY=1")

    async def follow(
        self, stop: asyncio.Event, *, healthy: Callable[[], bool], clock: Clock
    ) -> None:
        """Feed the watchdog while the daemon is healthy, and notify when it stops."""
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
        # A gone or slow manager must not stop the daemon; the manager's watchdog notices.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.setblocking(False)
            channel.sendto(message.encode(), self._address)


def inherited(
    environ: Mapping[str, str], *, pid: int, first_descriptor: int = FIRST_DESCRIPTOR
) -> list[socket.socket]:
    """Return the sockets that systemd passed to this process, as in sd_listen_fds(3).

    They are duplicates: closing them leaves the originals open for another start.

    Raises:
        StartError: systemd passed no socket, or one that does not listen for TCP.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not count.isdecimal() or count == "0":
        raise StartError(
            "web.systemd_socket is set, but systemd passed no socket;"
            " start the service with its .socket unit"
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
                f"descriptor {descriptor} from systemd is no listening TCP socket;"
                " the .socket unit needs ListenStream= with a port, and Accept=no"
            )
    return sockets


def _listens_for_tcp(sock: socket.socket) -> bool:
    for_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type is socket.SOCK_STREAM
    return for_tcp and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
