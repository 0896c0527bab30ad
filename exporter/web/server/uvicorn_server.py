"""The web server: starts or fails with one clear error, and stops within a grace period."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from exporter.config.address import Address
from exporter.errors import StartError
from exporter.web.server.accept import Acceptor
from exporter.web.server.limits import FencedProtocol
from exporter.web.server.ready import Answering
from exporter.web.server.room import PLACES, Room


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Mapping, Sequence

    from starlette.types import ASGIApp

    _SocketAddress = tuple[Any, ...]  # what bind takes: two items for IPv4, four for IPv6


#: How long to wait for tasks after their connections were closed.
_LAST_SECONDS = 1.0

#: Time limits of the TLS handshake and of the TLS shutdown.
_HANDSHAKE_SECONDS = 10.0
_GOODBYE_SECONDS = 2.0

_BACKLOG = 128

_REMEDIES = {
    errno.EADDRINUSE: "the port is in use; stop what uses it or set another web.listen_address",
    errno.EACCES: "not permitted; ports below 1024 need a privilege, set a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address; set another web.listen_address",
    errno.EAFNOSUPPORT: "this machine has no such kind of address; set another web.listen_address",
}


class WebServer:
    """An app on one or several addresses; can be started again after a stop."""

    def __init__(  # noqa: PLR0913 - all but two by keyword, with defaults
        self,
        app: ASGIApp,
        addresses: Sequence[Address],
        *,
        tls: ssl.SSLContext | None = None,
        sockets: Callable[[], list[socket.socket]] | None = None,
        max_connections: int = PLACES,
        idle_seconds: int = 75,
        handshake_seconds: float = _HANDSHAKE_SECONDS,
        always: Collection[str] = (),
        protocol: type[FencedProtocol] = FencedProtocol,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a server.

        Args:
            app: Answers the requests.
            addresses: The addresses to listen on.
            tls: The TLS context; plain HTTP if not given.
            sockets: Returns listening sockets at each start, instead of `addresses`.
            max_connections: The limit of connections with a request in flight; further requests
                get 503.
            idle_seconds: How long an idle connection is kept: longer than the usual scrape
                interval, so that Prometheus keeps its connection.
            handshake_seconds: Time limit of the TLS handshake.
            always: The paths that are answered also while `max_connections` is reached.
            protocol: The class of the connections' protocol.
            refresh: Reloads the web configuration file and its certificates if they changed.
        """
        self._app = app
        self._sockets = sockets or (lambda: listen(addresses))
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {
                "ssl": tls,
                "ssl_handshake_timeout": handshake_seconds,
                "ssl_shutdown_timeout": _GOODBYE_SECONDS,
            }
        self._max_connections = max_connections
        self._always = frozenset(always)
        self._idle_seconds = idle_seconds
        self._protocol = protocol
        self.refresh = refresh
        self._running: tuple[_Uvicorn, asyncio.Task[None]] | None = None
        self.addresses: tuple[Address, ...] = ()

    @property
    def scheme(self) -> str:
        """The scheme of the server's URLs."""
        return "https" if self._tls else "http"

    async def start(self) -> None:
        """Listen and serve; returns as soon as connections are accepted.

        Raises:
            StartError: The server cannot listen on one of the addresses, and listens on none.
        """
        sockets = self._sockets()
        server = _Uvicorn(
            uvicorn.Config(
                Answering(self._app),
                http=self._protocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                workers=1,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=self._idle_seconds,
            ),
            self._tls,
            Room(self._max_connections),
            self._always,
        )
        try:
            await server.startup(sockets)
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        self._running = (server, asyncio.create_task(server.serve()))
        self.addresses = tuple(bound_address(sock) for sock in sockets)

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Stop accepting, and close connections whose requests outlast the grace period."""
        if self._running is None:
            return
        server, task = self._running
        self._running = None
        self.addresses = ()
        server.close()
        done, _ = await asyncio.wait({task}, timeout=grace_seconds)
        if not done:
            server.abort()
            done, _ = await asyncio.wait({task}, timeout=_LAST_SECONDS)
        if not done:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Uvicorn(uvicorn.Server):
    """uvicorn with a limit of connections, and without signal handlers, which the daemon has."""

    def __init__(
        self,
        config: uvicorn.Config,
        tls: Mapping[str, Any],
        room: Room,
        always: Collection[str],
    ) -> None:
        super().__init__(config)
        self.servers = []  # uvicorn's servers accept connections without a limit
        self._tls = tls
        self._room = room
        self._always = always
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        for sock in sockets or ():
            sock.setblocking(False)
            sock.listen(_BACKLOG)
            self._acceptors.append(Acceptor(sock, self._room, self._connect, tls=self._tls))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        del sockets  # connections are accepted since `startup`
        await self.main_loop()
        await self.shutdown()
        for acceptor in self._acceptors:
            await acceptor.wait_closed()

    def _connect(self) -> FencedProtocol:
        protocol = cast("type[FencedProtocol]", self.config.http_protocol_class)
        return protocol(
            config=self.config,
            server_state=self.server_state,
            app_state={},
            room=self._room,
            always=self._always,
        )

    def close(self) -> None:
        """Stop accepting and start the shutdown."""
        self.should_exit = True
        for acceptor in self._acceptors:
            acceptor.close()
        self._room.cut_silent()

    def abort(self) -> None:
        """Close all connections and cancel the tasks that answer requests."""
        self.force_exit = True
        connections: set[Any] = self.server_state.connections
        for connection in list(connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()


def listen(addresses: Sequence[Address]) -> list[socket.socket]:
    """Return listening sockets for all addresses.

    `[::]` includes IPv4, unless another address has the same port.

    Raises:
        StartError: An address cannot be used; the message has the address and a remedy. No socket
            is left open then.
    """
    ports = Counter(address.port for address in addresses if address.port)
    sockets: list[socket.socket] = []
    for address in addresses:
        try:
            family, resolved = _resolve(address)
            sockets.append(_listen(family, resolved, dual=ports[address.port] < 2))
        except OSError as error:
            for bound in sockets:
                bound.close()
            why = _REMEDIES.get(error.errno or 0) or error.strerror or str(error)
            raise StartError(f"cannot listen on {address}: {why}") from error
    return sockets


def bound_address(sock: socket.socket) -> Address:
    """Return the address of a listening socket."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def _resolve(address: Address) -> tuple[socket.AddressFamily, _SocketAddress]:
    if not address.host:
        everywhere = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        return everywhere, ("", address.port)
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    # For a name with IPv4 and IPv6 addresses, IPv4 is the safer choice.
    family, _, _, _, resolved = min(found, key=lambda info: info[0] is not socket.AF_INET)
    return family, resolved


def _listen(family: socket.AddressFamily, address: _SocketAddress, *, dual: bool) -> socket.socket:
    dual = dual and family is socket.AF_INET6 and socket.has_dualstack_ipv6()
    made = socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=dual)
    # asyncio turns Nagle's algorithm off only for sockets with an explicit protocol. With Nagle's
    # algorithm, every response would wait 40 ms for the client's delayed acknowledgement.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=made.detach())
