"""Serving simulated vendors on loopback inside a running event loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette


class _Protocol(HttpToolsProtocol):
    """HTTP that lets the application drop its connection without an answer."""

    def on_message_begin(self) -> None:
        """Offer `abort` to the application."""
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort


@asynccontextmanager
async def serve(app: Starlette, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve an application while the context lasts and yield its base URL.

    uvicorn's own server is left out since it takes over the signals of the whole process.

    Raises:
        OSError: The port is in use.
    """
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: _Protocol(config=config, server_state=state, app_state={}), host=host, port=port
    )
    try:
        yield f"http://{host}:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # lets the tasks learn that their connections are gone
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
