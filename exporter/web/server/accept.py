"""Acceptance of connections one by one, so that their number is limited also during TLS handshakes.

asyncio and uvloop accept connections without a limit. When file descriptors run out, asyncio logs a
traceback for each of 128 attempts a second, and uvloop closes connections silently. The acceptor
here closes a less important connection instead.
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


#: How many connections are accepted before the event loop serves the accepted ones.
_AT_ONCE = 16

#: The pause while no connection can be accepted. New connections wait in the system's queue.
_PAUSE_SECONDS = 0.1


class Acceptor:
    """The acceptance of connections from a listening socket while the `Room` has places."""

    def __init__(
        self,
        sock: socket.socket,
        room: Room,
        protocol: Callable[[], FencedProtocol],
        *,
        tls: Mapping[str, Any],
    ) -> None:
        """Start to accept.

        Args:
            sock: The listening socket; `close` closes it.
            room: The places of connections.
            protocol: Returns the protocol of a new connection.
            tls: Arguments of `loop.connect_accepted_socket` for TLS; empty for plain connections.
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
        """Stop accepting."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    async def wait_closed(self) -> None:
        """Wait for the end of connections during their TLS handshake, which the room has closed."""
        if self._beginning:
            await asyncio.wait(self._beginning)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        # Only one connection while the room is full, so that new clients can send a request before
        # the room closes their connections.
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
                    message=f"{error.strerror or error}; if too many files are open, raise the"
                    " limit with LimitNOFILE (systemd) or `ulimit -n`",
                )
                self._room.make()
                self._rest()
                return
            self._begin(sock)
            if self._room.is_full:
                return

    def _rest(self) -> None:
        """Pause, because the socket stays ready while there is no place, descriptor or memory."""
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
            # A client that leaves or does not speak TLS is not an error of the exporter.
            if not isinstance(error, OSError):
                raise
