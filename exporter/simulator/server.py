"""Servers for the simulated vendors, one or all of them, in a running event loop."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import uvicorn
import yaml
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from exporter.clock import SYSTEM_CLOCK
from exporter.config.address import Address
from exporter.errors import StartError
from exporter.simulator.blazemeter import app as blazemeter
from exporter.simulator.blazemeter.account import MIN_AGENT_VERSION, Account
from exporter.simulator.eggplant import app as eggplant
from exporter.simulator.eggplant.lab import Lab
from exporter.simulator.options import SimulatorOptions, flag
from exporter.simulator.realload import app as realload
from exporter.simulator.realload.fleet import Fleet
from exporter.sources.settings import DEFAULT_CONCURRENCY, STANDARD_INTERVAL_SECONDS


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from starlette.types import ASGIApp

    from exporter.clock import Clock
    from exporter.simulator.vendor import Portal


#: The options with the ports of Real Load, BlazeMeter and Eggplant.
_PORTS = ("realload_port", "blazemeter_port", "eggplant_port")


class _Protocol(HttpToolsProtocol):
    """HTTP protocol that lets the application drop a connection without a response."""

    def on_message_begin(self) -> None:
        """Offer `abort` to the application."""
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort


@asynccontextmanager
async def serve(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve an application until the context ends, and yield its base URL.

    uvicorn's own server is not used, because it handles the signals of the whole process.

    Raises:
        OSError: The server cannot listen on the address.
    """
    # No date header: `Portal.answer` sets the date of the vendor's clock.
    config = uvicorn.Config(
        app, log_config=None, access_log=False, proxy_headers=False, date_header=False
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: _Protocol(config=config, server_state=state, app_state={}), host=host, port=port
    )
    try:
        yield f"http://{Address(host, listener.sockets[0].getsockname()[1])}"
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.transport.abort()
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


class Simulation:
    """The simulated vendors, served until the context ends.

    Attributes:
        fleet, account, lab: The worlds of Real Load, BlazeMeter and Eggplant.
        realload, blazemeter, eggplant: Their portals, with counts of calls, faults and `obey`.
        realload_url: The whole URL of the Real Load API, once it is served.
        blazemeter_url, eggplant_url: Base URLs of the other two.
        base_urls: All base URLs, in the order Real Load, BlazeMeter, Eggplant.
    """

    def __init__(
        self, options: SimulatorOptions | None = None, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.options = options or SimulatorOptions()
        self.fleet = Fleet(self.options, clock)
        self.account = Account(self.options, clock)
        self.lab = Lab(self.options, clock)
        self._apps = (
            realload.app(self.fleet, self.options, clock),
            blazemeter.app(self.account, self.options, clock),
            eggplant.app(self.lab, self.options, clock),
        )
        self.realload: Portal = self._apps[0].state.portal
        self.blazemeter: Portal = self._apps[1].state.portal
        self.eggplant: Portal = self._apps[2].state.portal
        self.base_urls: list[str] = []
        self.realload_url = self.blazemeter_url = self.eggplant_url = ""
        self._stack = AsyncExitStack()

    @property
    def realload_token(self) -> str:
        """The currently valid Real Load token; empty for none."""
        return self.realload.token or ""

    async def __aenter__(self) -> Self:
        """Start the servers.

        Raises:
            StartError: A server cannot listen; the message names the flag to change.
        """
        host = self.options.host
        self.base_urls = []
        async with AsyncExitStack() as stack:
            for app, name in zip(self._apps, _PORTS, strict=True):
                port = getattr(self.options, name)
                try:
                    url = await stack.enter_async_context(serve(app, host=host, port=port))
                except (OSError, UnicodeError) as error:
                    why = _why(error, port_flag=flag(name))
                    raise StartError(f"cannot listen on {Address(host, port)}: {why}") from error
                self.base_urls.append(url)
            self._stack = stack.pop_all()
        portal_url, self.blazemeter_url, self.eggplant_url = self.base_urls
        self.realload_url = portal_url + realload.PATH
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the servers."""
        await self._stack.__aexit__(kind, error, traceback)

    def configuration(
        self, *, interval_seconds: float = STANDARD_INTERVAL_SECONDS
    ) -> dict[str, Any]:
        """Return a configuration of the exporter for these vendors, as plain data for YAML.

        Args:
            interval_seconds: The polling interval. The concurrency is chosen so that all pings
                take at most half of it.
        """
        return {
            "sources": [
                {
                    "provider": "realload",
                    "name": "simulated-portal",
                    "url": self.realload_url,
                    "auth_token": self.realload_token,
                    "concurrency": self._concurrency(interval_seconds),
                },
                {
                    "provider": "blazemeter",
                    "name": "simulated-account",
                    "url": self.blazemeter_url,
                    "api_key_id": blazemeter.KEY_ID,
                    "api_key_secret": blazemeter.KEY_SECRET,
                    "workspaces": [int(key) for key in self.account.workspaces],
                    "min_agent_version": MIN_AGENT_VERSION,
                },
                {
                    "provider": "eggplant",
                    "name": "simulated-lab",
                    "url": self.eggplant_url,
                    "auth": {"token_url": self.eggplant_url + eggplant.REALM_PATH}
                    | eggplant.CLIENT,
                    "expected_agents": self.lab.names(),
                },
            ]
        }

    def _concurrency(self, interval_seconds: float) -> int:
        wanted = self.options
        pinged = wanted.agents + wanted.controllers + wanted.clusters + wanted.recorders
        seconds = pinged * wanted.delay_seconds
        return max(DEFAULT_CONCURRENCY, math.ceil(seconds / (interval_seconds / 2)))


def _why(error: OSError | UnicodeError, *, port_flag: str) -> str:
    if isinstance(error, UnicodeError):
        return f"it is no valid host name; give another {flag('host')}"
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}; give another {flag('host')}"
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; stop the program that uses it or give another {port_flag}"
    if error.errno == errno.EACCES:
        return f"not permitted; ports below 1024 need a privilege, give a higher {port_flag}"
    # asyncio's own text repeats the address.
    what = os.strerror(error.errno) if error.errno else "this machine has no such address"
    return f"{what}; give another {flag('host')}"


async def run(
    options: SimulatorOptions, *, announce: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Serve the simulated vendors until `stop` is set.

    Args:
        options: The size, pace, faults and addresses.
        announce: Called with each line for the user; the lines form a configuration.
        stop: When set, the simulation ends.

    Raises:
        StartError: A server cannot listen.
    """
    async with Simulation(options) as simulation:
        announce("# Simulated vendors are being served. This is a configuration for them.")
        announce("# POST /_control changes their fleets, GET /_control shows counts of calls:")
        for url in simulation.base_urls:
            announce(f"#   {url}/_control")
        for line in yaml.safe_dump(simulation.configuration(), sort_keys=False).splitlines():
            announce(line)
        await stop.wait()
