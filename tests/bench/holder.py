"""The exporter's exposition and web application over invented readings.

`POST /-/change` replaces the readings by others of the same targets, so that every series has
another value and the next scrape has to render all of them. `POST /-/reload` also renders them, as
the daemon does in the background.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, cast

from starlette.responses import Response
from starlette.routing import Route

from exporter.clock import SYSTEM_CLOCK
from exporter.config.address import parse_address
from exporter.fleet.store import Store
from exporter.metrics.exposition import Exposition, ScrapeResponse
from exporter.metrics.telemetry import SelfMetrics
from exporter.web.app import create_app
from exporter.web.server.uvicorn_server import WebServer
from tests.bench.fleet import snapshot


if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.requests import Request

    from exporter.overview.interface import View


class Holder:
    """The part of the pages' view that a scrape and a reload need."""

    def __init__(self, agents: int) -> None:
        self._store = Store(SYSTEM_CLOCK)
        self._exposition = Exposition(self._store, SelfMetrics())
        self._snapshots = [snapshot(agents, turn) for turn in range(2)]
        self._turn = 0

    def metrics(
        self,
        *,
        accept: str,
        accept_encoding: str,
        names: Collection[str],
        sources: Collection[str],
    ) -> ScrapeResponse:
        """Serve the page."""
        return self._exposition.metrics(
            accept=accept, accept_encoding=accept_encoding, names=names, sources=sources
        )

    async def reload(self) -> None:
        """Change everything and render it."""
        self.change()
        await self._exposition.refresh()

    def change(self) -> None:
        """Change everything."""
        self._turn += 1
        self._store.put(self._snapshots[self._turn % 2])


async def serve(port: int, agents: int) -> None:
    """Serve until killed."""
    holder = Holder(agents)
    await holder.reload()
    app = create_app(cast("View", holder), lifecycle=True)
    app.routes.insert(0, Route("/-/change", _changing(holder), methods=["POST"]))
    await WebServer(app, [parse_address(f"127.0.0.1:{port}")]).start()
    await asyncio.Event().wait()


def _changing(holder: Holder) -> Callable[[Request], Response]:
    def change(request: Request) -> Response:
        del request
        holder.change()
        return Response()

    return change


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--agents", type=int, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.agents))


if __name__ == "__main__":
    main()
