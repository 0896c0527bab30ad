"""The daemon: the engine on its schedule, the web server in front, and a clean end.

Only this module knows the whole.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import contextmanager, suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import structlog

from exporter import __version__
from exporter.alerts.alerting import AlertingContext
from exporter.alerts.builtin import BuiltInAlerts
from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.errors import ConfigurationError
from exporter.fleet.history import History
from exporter.http import HttpClient
from exporter.overview.daemon import DaemonView
from exporter.polling.engine import Engine
from exporter.polling.reload import BY_RELOAD, BY_RESTART, Reloader
from exporter.settings.load import configure_for
from exporter.sharding import Shard
from exporter.web.app import create_app
from exporter.web.server.address import Address
from exporter.web.server.make import make_server


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.settings.load import Loaded, Settings
    from exporter.web.server.uvicorn_server import WebServer


#: What runs at the end gets this long; then it is cancelled.
STOP_GRACE_SECONDS = 5.0

#: How often the loop looks after itself.
HOUSEKEEPING_SECONDS = 1.0

#: The loop counts as stuck when it has not looked after itself for this long.
HEARTBEAT_LIMIT_SECONDS = 30.0

#: Ready at the latest after this long: a source that hangs must not hold the metrics back that
#: would tell so.
FIRST_ROUND_LIMIT_SECONDS = 60.0


class Daemon:
    """One running exporter."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        load: Callable[[], Loaded] | None = None,
        auto_reload_seconds: float = 0.0,
        clock: Clock = SYSTEM_CLOCK,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare a daemon.

        Args:
            loaded: The configuration to begin with.
            load: Reads it anew; without it, a reload begins again with the first.
            auto_reload_seconds: How often to look for changes of the files; 0 is never.
            clock: Where time comes from.
            announce: Told the URL once it can be opened.
        """
        self._settings: Settings = loaded.settings
        self.clock = clock
        self._shard = Shard.of(loaded.settings.sharding, host=socket.gethostname())
        self._engine = Engine(clock=clock, shard=self._shard)
        self._announce = announce
        self._log = structlog.get_logger("exporter.daemon")
        self._changed = asyncio.Event()
        self._started = clock.monotonic()
        self._heartbeat = clock.monotonic()
        self._generator_url = ""
        self._history = History()
        self._history.follow(self._engine.store)
        self._alerts = BuiltInAlerts(
            AlertingContext(
                store=self._engine.store,
                telemetry=self._engine.telemetry,
                clock=clock,
                started=self._ready,
                # The jitter of retries is no secret.
                connect=partial(HttpClient, clock=clock, random=Random()),  # noqa: S311
            )
        )
        self._auto_reload_seconds = auto_reload_seconds
        self._reloader = Reloader(
            load or (lambda: loaded), loaded, self._apply, telemetry=self._engine.telemetry
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop.

        Raises:
            StartError: An address cannot be listened on.
            ConfigurationError: The web configuration file is wrong.
        """
        web = self._settings.web
        app = create_app(
            DaemonView(
                self._engine,
                history=self._history,
                alerts=self._alerts,
                settings=lambda: self._settings,
                reload=self.reload,
                ready=self._ready,
                healthy=self.healthy,
            ),
            route_prefix=web.route_prefix,
            max_requests=web.max_requests,
            lifecycle=web.enable_lifecycle,
        )
        server = make_server(app, web, clock=self.clock)
        self._engine.connect(self._settings)
        # The first scrape must find every source, also before anything was polled.
        await self._engine.exposition.refresh()
        await server.start()
        self._log.info("started", version=__version__, listen=",".join(map(str, server.addresses)))
        self._engine.store.subscribe(lambda _: self._changed.set())
        background = [
            asyncio.create_task(self._render(), name="render"),
            asyncio.create_task(self._keep_house(), name="housekeeping"),
        ]
        if self._auto_reload_seconds:
            background.append(asyncio.create_task(self._watch(), name="auto-reload"))
        self._engine.begin()
        self._generator_url = web.external_url or _browsable(
            server, f"{web.route_prefix}/", everywhere=socket.gethostname()
        )
        await self._alerts.apply(
            self._settings.alerting.of_shard(self._shard), generator_url=self._generator_url
        )
        hang_up = asyncio.Event()
        background.append(asyncio.create_task(self._reload_on(hang_up), name="reload"))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up.set)
        if self._announce is not None:
            self._announce(_browsable(server, web.route_prefix))
        try:
            await stop.wait()
        finally:
            self._log.info("stopping")
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
            # First of all: that polling ends must not look like the end of an alert.
            await self._alerts.stop()
            await self._engine.end(grace_seconds=STOP_GRACE_SECONDS)
            await server.stop(grace_seconds=1.0)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            self._log.info("stopped")

    async def reload(self) -> None:
        """Load the configuration again and go over to it.

        Raises:
            ConfigurationError: With every mistake; the old one stays in use.
        """
        await self._reloader.reload()

    def _ready(self) -> bool:
        """Tell whether the first round of polls has finished or was given up."""
        age = self.clock.monotonic() - self._started
        return self._engine.first_round_done or age >= FIRST_ROUND_LIMIT_SECONDS

    def healthy(self) -> bool:
        """Tell whether the event loop turns."""
        return self.clock.monotonic() - self._heartbeat < HEARTBEAT_LIMIT_SECONDS

    async def _apply(self, settings: Settings) -> None:
        found = await self._engine.apply(settings)
        await self._alerts.apply(
            settings.alerting.of_shard(self._shard), generator_url=self._generator_url
        )
        for section in BY_RESTART:
            if getattr(settings, section) != getattr(self._settings, section):
                self._log.warning(
                    "restart_needed", message=f"changes of `{section}` need a restart"
                )
        sections = [
            section
            for section in BY_RELOAD
            if getattr(settings, section) != getattr(self._settings, section)
        ]
        self._settings = settings
        configure_for(settings)
        self._log.info(
            "reloaded",
            added=",".join(found.added),
            changed=",".join(found.changed),
            removed=",".join(found.removed),
            kept=len(found.kept),
            sections=",".join(sections),
        )

    async def _render(self) -> None:
        """Render what changed, so that a scrape finds finished bytes."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._engine.exposition.refresh()
                await self._history.catch_up()
            except Exception:  # noqa: BLE001 - the loop must outlive a mistake; it is logged
                self._log.exception("render_crashed")

    async def _reload_on(self, hang_up: asyncio.Event) -> None:
        while True:
            await hang_up.wait()
            hang_up.clear()
            # A mistake is logged and counted by the reloader; nobody waits for its text here.
            with suppress(ConfigurationError):
                await self.reload()

    async def _watch(self) -> None:
        while True:
            await self.clock.sleep(self._auto_reload_seconds)
            await self._reloader.reload_if_changed()

    async def _keep_house(self) -> None:
        while True:
            self._heartbeat = self.clock.monotonic()
            try:
                self._engine.store.expire()
                if self._engine.schedule.realign():
                    self._log.warning("clock_was_set")
            except Exception:  # noqa: BLE001 - the loop must outlive a mistake; it is logged
                self._log.exception("housekeeping_crashed")
            await self.clock.sleep(HOUSEKEEPING_SECONDS)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Set the event on SIGTERM and SIGINT instead of dying of them."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _browsable(server: WebServer, path: str, *, everywhere: str = "localhost") -> str:
    """Return a URL that can be opened.

    Args:
        server: What listens.
        path: What follows it.
        everywhere: The host's name where a wildcard is listened on.
    """
    address = server.addresses[0]
    wildcards = {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    shown = Address(everywhere, address.port) if address.host in wildcards else address
    return f"{server.scheme}://{shown}{path}"
