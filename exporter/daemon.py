"""The daemon: the engine on its schedule, the alerts, the web server in front, and a clean end.

Only this module knows the whole.
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


#: Polls that run at the end get this long; then they are cancelled.
STOP_GRACE_SECONDS = 5.0

#: The interval of housekeeping.
HOUSEKEEPING_SECONDS = 1.0

#: The loop counts as stuck when there was no housekeeping for this long.
HEARTBEAT_LIMIT_SECONDS = 30.0

#: So many descriptors are kept for what is open for a moment, or by few: the stores of state and
#: history, the receivers of alerts, the files of the configuration and the look-up of names.
_OTHER_FILES = 32

#: Ready at the latest after this long: a source that hangs must not hold the metrics back that
#: would tell so.
FIRST_POLLS_LIMIT_SECONDS = 60.0


class Daemon:
    """One running exporter; what its pages may use of it is in `exporter.overview.interface`."""

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
            loaded: The configuration to begin with.
            load: Reads it anew; without it, a reload begins again with the first.
            auto_reload_seconds: How often to look for changes of the files; 0 is never.
            clock: Where time comes from.
            announce: Told the URL once it can be opened.
            state: Taken in the place of the one that the settings name.
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
        # While the store is away nobody knows who sends, and the last one goes on.
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
                # The jitter of retries is no secret.
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
        """Serve until told to stop.

        Raises:
            StartError: An address cannot be listened on.
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
            max_connections=self._places(process.free_descriptors()),
        )
        await self._engine.connect(self._settings)
        # Before anybody can ask: while the store is away it takes seconds.
        await self._engine.beat()
        # The first scrape must find every source and preflight, also before anything was polled.
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
            asyncio.create_task(self._keep_house(server), name="housekeeping"),
            asyncio.create_task(self._beat(), name="beat"),
            asyncio.create_task(self._preflights.run(), name="preflights"),
        ]
        if self.history is not None:
            background.append(asyncio.create_task(self.history.run(), name="history"))
        if self._auto_reload_seconds:
            background.append(asyncio.create_task(self._watch(), name="auto-reload"))
        self._engine.begin()
        self._decide_who_sends(self._settings)
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
            # First of all: that polling ends must not look like the end of an alert.
            await self._alerts.stop()
            await self._sender.leave()
            # Before the engine's end: a reload under way would begin sources anew.
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._engine.end(grace_seconds=STOP_GRACE_SECONDS)
            await server.stop(grace_seconds=1.0)
            if self.history is not None:
                await self.history.aclose()
            self._log.info("stopped")

    def _places(self, descriptors: float) -> int:
        """Return how many clients can be served at once beside all else that needs descriptors."""
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
        """Return what is known now."""
        self._engine.store.expire()
        return self._engine.store.snapshots()

    def sources(self) -> list[SourceRow]:
        """Return how each source is."""
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
        """True once each task was polled once or restored, or the time for that is over."""
        return self._engine.first_shown or self._polled

    @property
    def _polled(self) -> bool:
        """True once each task was polled once, or the time for that is over."""
        age = self._clock.monotonic() - self._started
        return self._engine.first_polls_done or age >= FIRST_POLLS_LIMIT_SECONDS

    @property
    def healthy(self) -> bool:
        """True while the event loop turns."""
        return self._clock.monotonic() - self._heartbeat < HEARTBEAT_LIMIT_SECONDS

    def _decide_who_sends(self, settings: Settings) -> None:
        if settings.alerting.built_in:
            self._sender.begin()

    async def _apply(self, settings: Settings) -> None:
        found = await self._engine.apply(settings)
        self._decide_who_sends(settings)
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
        # Whoever asks from now on asks by what is configured now.
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
        """Render what changed, so that a scrape finds finished bytes."""
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
            # A mistake is logged and counted by the reloader; nobody waits for its text here.
            with suppress(ConfigurationError):
                await self.reload()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._auto_reload_seconds)
            await self._reloader.reload_if_changed()

    async def _keep_house(self, server: WebServer) -> None:
        while True:
            self._heartbeat = self._clock.monotonic()
            try:
                self._engine.store.expire()
                if self._engine.schedule.realign():
                    self._log.warning("clock_was_set")
                # A refused file is told also where nobody asks.
                server.refresh()
                tell_repeated()
            except Exception:  # noqa: BLE001 - the loop must outlive a mistake; it is logged
                self._log.exception("housekeeping_crashed")
            await self._clock.sleep(HOUSEKEEPING_SECONDS)

    async def _beat(self) -> None:
        """Tell the other shards of this one; apart, since a slow state is no stuck loop."""
        while True:
            try:
                await self._engine.beat()
            except Exception:  # noqa: BLE001 - the loop must outlive a mistake; it is logged
                self._log.exception("beat_crashed")
            await self._clock.sleep(HOUSEKEEPING_SECONDS)


def _browsable(server: WebServer, path: str, *, everywhere: str = "localhost") -> str:
    """Return a URL that can be opened, with the host `everywhere` for a wildcard."""
    address = server.addresses[0]
    wildcards = {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    shown = Address(everywhere, address.port) if address.host in wildcards else address
    return f"{server.scheme}://{shown}{path}"
