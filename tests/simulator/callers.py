"""Calling the simulated vendors without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from exporter.simulator.blazemeter import app as blazemeter
from exporter.simulator.blazemeter.account import Account
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload import app as realload
from exporter.simulator.realload.fleet import Fleet


if TYPE_CHECKING:
    from starlette.applications import Starlette

    from exporter.simulator.vendor import Portal
    from tests.support.clock import FakeClock


def client(app: Starlette, *, address: str = "192.0.2.1") -> httpx.AsyncClient:
    """Make a client whose calls come from an address."""
    transport = httpx.ASGITransport(app, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://simulated")


class RealLoad:
    """A Real Load portal and a caller in front of it."""

    def __init__(self, time: FakeClock, **options: Any) -> None:
        self.options = SimulatorOptions(**options)
        self.fleet = Fleet(self.options, time.clock)
        self.app = realload.app(self.fleet, self.options, time.clock)
        self.portal: Portal = self.app.state.portal

    async def post(
        self, action: str, *, token: str | None = None, address: str = "192.0.2.1", **fields: Any
    ) -> httpx.Response:
        """Call an action."""
        body = {"authTokenValue": token or self.options.token, "action": action, **fields}
        async with client(self.app, address=address) as caller:
            return await caller.post(realload.PATH, json=body)

    async def call(self, action: str, **fields: Any) -> Any:
        """Call an action and return the decoded reply."""
        return (await self.post(action, **fields)).json()

    async def control(self, **command: Any) -> httpx.Response:
        """Use the control interface."""
        async with client(self.app) as caller:
            return await caller.post("/_control", json=command)


class BlazeMeter:
    """A BlazeMeter API and a caller in front of it."""

    def __init__(self, time: FakeClock, **options: Any) -> None:
        self.account = Account(SimulatorOptions(**options), time.clock)
        self.app = blazemeter.app(self.account, SimulatorOptions(**options), time.clock)
        self.portal: Portal = self.app.state.portal

    async def send(
        self, path: str, *, secret: str = blazemeter.KEY_SECRET, method: str = "GET"
    ) -> httpx.Response:
        """Send a call."""
        async with client(self.app) as caller:
            return await caller.request(method, "/api/v4" + path, auth=(blazemeter.KEY_ID, secret))

    async def get(self, path: str) -> Any:
        """Send a GET and return the decoded reply."""
        return (await self.send(path)).json()

    async def masters(self) -> list[dict[str, Any]]:
        """List all runs, page by page, the newest first."""
        rows: list[dict[str, Any]] = []
        while page := (await self.get(f"/masters?limit=50&skip={len(rows)}"))["result"]:
            rows += page
        return rows

    async def newest(self, verdict: str | None = None, **fields: Any) -> dict[str, Any]:
        """Return the newest run with a verdict and certain fields."""
        return next(
            row
            for row in await self.masters()
            if row.get("reportStatus") == verdict and fields.items() <= row.items()
        )
