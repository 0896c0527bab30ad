"""A web server that starts with one clear error or none and stops within its grace."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import uvicorn

from exporter.web.address import BACKLOG, Address, bound_address, listen
from exporter.web.protocol import FencedProtocol


if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send


#: How long what was cut off gets to notice.
_LAST_SECONDS = 1.0


class WebServer:
    """An app on one or several addresses; can be started again after a stop."""

    def __init__(
        self,
        app: ASGIApp,
        addresses: Sequence[Address],
        *,
        max_connections: int = 512,
        idle_seconds: int = 75,
        protocol: type[FencedProtocol] = FencedProtocol,
    ) -> None:
        """Prepare a server.

        Args:
            app: What answers.
            addresses: Where to listen.
            max_connections: With more connections than these, requests get 503.
            idle_seconds: How long a connection may wait for its next request; more than the
                usual scrape interval, so that Prometheus keeps its connection.
            protocol: The limits for slow clients.
        """
        self._app = app
        self._requested = tuple(addresses)
        self._max_connections = max_connections
        self._idle_seconds = idle_seconds
        self._protocol = protocol
        self._running: tuple[_Uvicorn, asyncio.Task[None]] | None = None
        self.addresses: tuple[Address, ...] = ()

    async def start(self) -> None:
        """Listen and serve; returns when connections are accepted.

        Raises:
            StartError: An address cannot be listened on; none is then.
        """
        sockets = listen(self._requested)
        server = _Uvicorn(
            uvicorn.Config(
                _Quiet(self._app),
                http=self._protocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                workers=1,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                limit_concurrency=self._max_connections,
                timeout_keep_alive=self._idle_seconds,
            )
        )
        task = asyncio.create_task(server.serve(sockets))
        self._running = (server, task)
        self.addresses = tuple(bound_address(sock) for sock in sockets)
        accepting = asyncio.create_task(server.accepting.wait())
        await asyncio.wait({task, accepting}, return_when=asyncio.FIRST_COMPLETED)
        if not server.accepting.is_set():
            accepting.cancel()
            self._running = None
            for sock in sockets:
                sock.close()
            await task

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Stop accepting, let requests under way end within the grace, cut off the rest."""
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
    """uvicorn without signal handlers of its own; the daemon has them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()
        self.servers = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    def close(self) -> None:
        """Accept no more and begin to shut down."""
        self.should_exit = True
        for server in self.servers:
            server.close()

    def abort(self) -> None:
        """Cut all connections and cancel what answers them."""
        self.force_exit = True
        connections: set[Any] = self.server_state.connections
        for connection in list(connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()


class _Quiet:
    """Keeps uvicorn from logging a traceback for each request that a stop cancels."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)
