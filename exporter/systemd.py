"""What the service manager is told: systemd's notification protocol, a datagram per message.

It is spoken only where `NOTIFY_SOCKET` names a socket, as under a unit of `Type=notify`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.clock import Clock


#: How often it is told that the daemon is well; a unit's `WatchdogSec` must be longer than twice.
ALIVE_SECONDS = 5.0


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
        """Tell that the daemon listens."""
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
