"""Connections are accepted one by one, so that their number has a bound also while TLS begins.

asyncio and uvloop accept what comes and tell of it afterwards. When descriptors run out the one
logs a traceback for each of 128 attempts a second, the other closes without a word; here somebody
makes room.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog


if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from exporter.web.server.limits import FencedProtocol
    from exporter.web.server.room import Room


#: So many are accepted before who was accepted is listened to.
_AT_ONCE = 16

#: The pause while nobody can be accepted, who waits in the queue of the system meanwhile.
_PAUSE_SECONDS = 0.1


class Acceptor:
    """Takes connections from a listening socket into a room while there is one."""

    def __init__(
        self,
        sock: socket.socket,
        room: Room,
        protocol: Callable[[], FencedProtocol],
        *,
        tls: Mapping[str, Any],
    ) -> None:
        """Begin to accept.

        Args:
            sock: Listens; closed at the end.
            room: Where connections have their places.
            protocol: Makes what speaks with a client.
            tls: How, as `loop.connect_accepted_socket` takes it; empty for plain connections.
        """
        self._sock = sock
        self._room = room
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._log = structlog.get_logger("exporter.web")
        self._beginning: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._resume()

    def close(self) -> None:
        """Accept no more."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    async def wait_closed(self) -> None:
        """Wait for connections whose TLS has not begun yet; the room has cut them off."""
        if self._beginning:
            await asyncio.wait(self._beginning)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        # One by one when it is full, so that newcomers are listened to before they make room.
        if self._room.is_full and not self._room.make():
            self._rest()
            return
        for _ in range(_AT_ONCE):
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._log.warning(
                    "accept_failed",
                    message=f"{error.strerror or error}; if files are too many, raise their limit"
                    " with LimitNOFILE (systemd) or `ulimit -n`",
                )
                self._room.make()
                self._rest()
                return
            self._begin(sock)
            if self._room.is_full:
                return

    def _rest(self) -> None:
        """Pause, since the socket stays ready while there is no place, descriptor or memory."""
        self._loop.remove_reader(self._sock)
        self._pause = self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _begin(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        protocol = self._protocol()
        protocol.accepted = sock
        self._room.enter(protocol)
        task = self._loop.create_task(self._connect(sock, protocol))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _connect(self, sock: socket.socket, protocol: FencedProtocol) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, sock, **self._tls)
        except BaseException as error:
            self._room.leave(protocol)
            # A client that leaves, or that does not know TLS, is no mistake of ours.
            if not isinstance(error, OSError):
                raise
