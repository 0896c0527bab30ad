"""The daemon: starts, connects and stops the polling engine, the alerts and the web server.

Only this module knows all components.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from exporter import __version__, process
from exporter.alerts.alerting import AlertingContext, BuiltInAlerts
from exporter.alerts.memory import AlertMemory
from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.config.address import Address
from exporter.errors import ConfigurationError, StartError
from exporter.fleet.recent import Recent
from exporter.fleet.usual import Usuals
from exporter.history.history import open_history
from exporter.http import HttpClient
from exporter.logging import tell_repeated
from exporter.overview.exposed import Exposed
from exporter.overview.picture import Facts, Pictures
from exporter.overview.problems import Judge
from exporter.overview.sources import SourceRow, source_rows
from exporter.polling.engine import Engine
from exporter.polling.looks import Looks
from exporter.polling.reload import BY_RELOAD, BY_RESTART, Reloader
from exporter.settings.load import configure_for, redacted
from exporter.sharding import Shard
from exporter.state.leadership import Leadership, Work
from exporter.web.app import create_app, make_server
from exporter.web.server.room import PLACES, SPARE, affordable_places


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.fleet.store import Snapshot
    from exporter.settings.load import Loaded, Settings
    from exporter.state.base import State
    from exporter.web.server.uvicorn_server import WebServer


#: On shutdown, polls in flight are cancelled after this time.
STOP_GRACE_SECONDS = 5.0

#: The interval of housekeeping.
HOUSEKEEPING_SECONDS = 1.0

#: The event loop counts as stuck if housekeeping has not run for this long.
HEARTBEAT_LIMIT_SECONDS = 30.0

#: File descriptors reserved for everything but polls and web clients: the stores of state and
#: history, the Alertmanagers, the configuration files and DNS.
_OTHER_FILES = 32

#: The daemon is ready at the latest after this time. Otherwise a source that hangs would hold back
#: the very metrics that report it.
FIRST_POLLS_LIMIT_SECONDS = 60.0


class Daemon:
    """One running exporter. The web pages see it through `exporter.overview.interface`."""

    def __init__(  # noqa: PLR0913 - all but the first by keyword
        self,
        loaded: Loaded,
        *,
        load: Callable[[], Loaded] | None = None,
        auto_reload_seconds: float = 0.0,
        clock: Clock = SYSTEM_CLOCK,
        announce: Callable[[str], None] | None = None,
        state: State | None = None,
    ) -> None:
        """Prepare a daemon.

        Args:
            loaded: The initial configuration.
            load: Reads the configuration for a reload; by default a reload applies `loaded` again.
            auto_reload_seconds: Interval at which to check the files for changes; 0 for never.
            clock: The source of time.
            announce: Called with the URL as soon as the web server accepts connections.
            state: Replaces the state store that the settings name.
        """
        self._settings: Settings = loaded.settings
        self._clock = clock
        share = loaded.settings.sharding
        self.shard = Shard.of(share.shard, share.total_shards, host=socket.gethostname())
        self.history = open_history(
            loaded.settings.history,
            state=loaded.settings.state,
            shard=self.shard,
            clock=clock,
            lasting=state is None,
        )
        self._engine = Engine(
            clock=clock,
            shard=self.shard,
            state=state or loaded.settings.state,
            usual=(lambda _: Usuals()) if self.history is None else self.history.usual,
        )
        if self.history is not None:
            self.history.follow(self._engine.store)
        self.recent = Recent()
        self.recent.follow(self._engine.store)
        self._announce = announce
        self._log = structlog.get_logger("exporter.daemon")
        self._changed = asyncio.Event()
        self._started = clock.monotonic()
        self._heartbeat = clock.monotonic()
        self._generator_url = self._instance = ""
        # While the store is unreachable no leader can be elected, so the last one keeps sending.
        shared = self._engine.state.shared
        memory = AlertMemory(shared, namespace=loaded.settings.state.namespace, shard=self.shard)
        self._sender = Leadership(
            shared,
            f"lead/{memory.group}",
            Work(described={"work": "alerts"}, fails=lambda: not self._alerts.delivers),
            clock=clock,
        )
        self._alerts = BuiltInAlerts(
            AlertingContext(
                store=self._engine.store,
                telemetry=self._engine.telemetry,
                clock=clock,
                started=lambda: self._polled,
                memory=memory,
                sends=lambda: self._sender.role.works,
                # The jitter of retries needs no cryptographic randomness.
                connect=partial(HttpClient, clock=clock, random=Random()),  # noqa: S311
            )
        )
        self._auto_reload_seconds = auto_reload_seconds
        self._reloader = Reloader(
            load or (lambda: loaded), loaded, self._apply, telemetry=self._engine.telemetry
        )
        self.metrics = self._engine.exposition.metrics
        looks = Looks(self._engine.explain, settings=self._engine.settings_of, clock=clock)
        self.explain = looks.explain
        self.probe_min_age = looks.min_age
        self.reload = self._reloader.reload
        self.now = clock.now
        self._judge = Judge.of(loaded.settings.alerting, self._engine.telemetry.registry)
        self._pictures = Pictures(self._facts, clock=clock)
        self.picture = self._pictures.newest
        self._preflights = Exposed(
            self.picture,
            lambda: self._settings.preflights,
            telemetry=self._engine.telemetry,
            clock=clock,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set.

        Raises:
            StartError: The web server cannot listen on an address.
            ConfigurationError: The web configuration file is wrong.
        """
        web = self._settings.web
        app = create_app(
            self,
            route_prefix=web.route_prefix,
            max_requests=web.max_requests,
            lifecycle=web.enable_lifecycle,
        )
        server = make_server(
            app,
            web,
            clock=self._clock,
            telemetry=self._engine.telemetry,
            max_connections=self._max_clients(process.free_descriptors()),
        )
        await self._engine.connect(self._settings)
        # Before the web server starts: while the store is unreachable this takes seconds.
        await self._engine.beat()
        # The first scrape must show every source and preflight, even before the first poll.
        await self._engine.exposition.refresh()
        await self._preflights.refresh()
        try:
            await server.start()
        except StartError:
            await self._engine.end(grace_seconds=0)
            raise
        self._log.info("started", version=__version__, listen=",".join(map(str, server.addresses)))
        self._engine.exposition.log_former_names()
        self._engine.store.subscribe(lambda _: self._changed.set())
        background = [
            asyncio.create_task(self._render(), name="render"),
            asyncio.create_task(self._housekeeping(server), name="housekeeping"),
            asyncio.create_task(self._beat(), name="beat"),
            asyncio.create_task(self._preflights.run(), name="preflights"),
        ]
        if self.history is not None:
            background.append(asyncio.create_task(self.history.run(), name="history"))
        if self._auto_reload_seconds:
            background.append(asyncio.create_task(self._watch(), name="auto-reload"))
        self._engine.begin()
        self._elect_sender(self._settings)
        board = _browsable(server, f"{web.route_prefix}/", everywhere=socket.gethostname())
        self._instance = urlsplit(board).netloc
        self._generator_url = web.external_url or board
        await self._alerts.apply(
            self._settings.alerting.of_shard(self.shard),
            generator_url=self._generator_url,
            instance=self._instance,
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
            # The alerts stop first, or they would take the end of polling for resolved alerts.
            await self._alerts.stop()
            await self._sender.leave()
            # Cancelled before the engine ends, because a running reload would start sources again.
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._engine.end(grace_seconds=STOP_GRACE_SECONDS)
            await server.stop(grace_seconds=1.0)
            if self.history is not None:
                await self.history.aclose()
            self._log.info("stopped")

    def _max_clients(self, descriptors: float) -> int:
        """Return how many clients the free descriptors allow at once, after all other needs."""
        needed = _OTHER_FILES + sum(source.concurrency for source in self._settings.sources)
        found = affordable_places(descriptors - needed)
        if found < PLACES:
            missing = int(PLACES + SPARE + needed - descriptors)
            self._log.warning(
                "few_descriptors",
                message=f"the limit of open files leaves room for {found} clients at once instead"
                f" of {PLACES}; raise it by {missing} with LimitNOFILE (systemd) or `ulimit -n`",
            )
        return found

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the current snapshots of all tasks."""
        self._engine.store.expire()
        return self._engine.store.snapshots()

    def sources(self) -> list[SourceRow]:
        """Return the state of each source."""
        return source_rows(self._engine.pollers.values(), self._engine.store)

    def _facts(self) -> Facts:
        return Facts.of(
            self._engine.pollers.values(),
            self._engine.store,
            judge=self._judge,
            ready=self.ready,
            alerts=self._alerts.active(),
            preflights=self._settings.preflights,
        )

    def config(self) -> Mapping[str, Any]:
        """Return the effective settings, redacted."""
        return redacted(self._settings)

    @property
    def ready(self) -> bool:
        """True once each task was polled or restored, or the time limit for that has passed."""
        return self._engine.first_shown or self._polled

    @property
    def _polled(self) -> bool:
        """True once each task was polled, or the time limit for that has passed."""
        age = self._clock.monotonic() - self._started
        return self._engine.first_polls_done or age >= FIRST_POLLS_LIMIT_SECONDS

    @property
    def healthy(self) -> bool:
        """True while the event loop runs."""
        return self._clock.monotonic() - self._heartbeat < HEARTBEAT_LIMIT_SECONDS

    def _elect_sender(self, settings: Settings) -> None:
        if settings.alerting.built_in:
            self._sender.begin()

    async def _apply(self, settings: Settings) -> None:
        found = await self._engine.apply(settings)
        self._elect_sender(settings)
        await self._alerts.apply(
            settings.alerting.of_shard(self.shard),
            generator_url=self._generator_url,
            instance=self._instance,
        )
        changed = [
            section
            for section in (*BY_RELOAD, *BY_RESTART)
            if getattr(settings, section) != getattr(self._settings, section)
        ]
        for section in changed:
            if section in BY_RESTART:
                self._log.warning(
                    "restart_needed", message=f"changes of `{section}` need a restart"
                )
        if settings.alerting != self._settings.alerting:
            self._judge = Judge.of(settings.alerting, self._engine.telemetry.registry)
        self._settings = settings
        configure_for(settings)
        # Requests from now on must see the new configuration.
        await self._pictures.renew()
        await self._preflights.refresh()
        self._log.info(
            "reloaded",
            added=",".join(found.added),
            changed=",".join(found.changed),
            removed=",".join(found.removed),
            kept=len(found.kept),
            sections=",".join(section for section in changed if section in BY_RELOAD),
        )

    async def _render(self) -> None:
        """Render changed snapshots in advance, so that a scrape only copies finished bytes."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._engine.exposition.refresh()
                await self.recent.catch_up()
            except Exception:  # noqa: BLE001 - the loop must outlive a mistake; it is logged
                self._log.exception("render_crashed")

    async def _reload_on(self, hang_up: asyncio.Event) -> None:
        while True:
            await hang_up.wait()
            hang_up.clear()
            # The reloader logs and counts mistakes.
            with suppress(ConfigurationError):
                await self.reload()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._auto_reload_seconds)
            await self._reloader.reload_if_changed()

    async def _housekeeping(self, server: WebServer) -> None:
        while True:
            self._heartbeat = self._clock.monotonic()
            try:
                self._engine.store.expire()
                if self._engine.schedule.realign():
                    self._log.warning("clock_was_set")
                # Checks the web configuration file, so that a mistake is logged without a request.
                server.refresh()
                tell_repeated()
            except Exception:  # noqa: BLE001 - the loop must outlive a mistake; it is logged
                self._log.exception("housekeeping_crashed")
            await self._clock.sleep(HOUSEKEEPING_SECONDS)

    async def _beat(self) -> None:
        """Announce this process to the others.

        Not part of housekeeping, because a slow state store does not mean that the loop is stuck.
        """
        while True:
            try:
                await self._engine.beat()
            except Exception:  # noqa: BLE001 - the loop must outlive a mistake; it is logged
                self._log.exception("beat_crashed")
            await self._clock.sleep(HOUSEKEEPING_SECONDS)


def _browsable(server: WebServer, path: str, *, everywhere: str = "localhost") -> str:
    """Return a URL for a browser, with the host `everywhere` in place of a wildcard address."""
    address = server.addresses[0]
    wildcards = {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    shown = Address(everywhere, address.port) if address.host in wildcards else address
    return f"{server.scheme}://{shown}{path}"
