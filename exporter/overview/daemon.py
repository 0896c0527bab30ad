"""From what runs to what the pages and `status` show of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.alerts.evaluate import Phase
from exporter.overview.interface import AlertView, SourceView, TaskView
from exporter.settings.load import redacted
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from exporter.alerts.alerting import BuiltInAlerts
    from exporter.alerts.evaluate import Alert
    from exporter.clock import Moment
    from exporter.fleet.history import History
    from exporter.fleet.store import Snapshot, Store
    from exporter.overview.interface import MetricsPage
    from exporter.polling.engine import Engine
    from exporter.polling.poller import Poller, TaskStatus
    from exporter.settings.load import Settings
    from exporter.sources.base import Explanation


class DaemonView:
    """The daemon as the pages see it."""

    def __init__(  # noqa: PLR0913 - all but the engine by keyword
        self,
        engine: Engine,
        *,
        history: History,
        alerts: BuiltInAlerts,
        settings: Callable[[], Settings],
        reload: Callable[[], Awaitable[None]],
        ready: Callable[[], bool],
        healthy: Callable[[], bool],
    ) -> None:
        """Look at a daemon through its parts.

        Args:
            engine: The sources and what they have said.
            history: What became of each target lately.
            alerts: What the built-in evaluation has found.
            settings: Returns those in use now.
            reload: Goes over to the configuration as it is by then.
            ready: Tells whether the first round is over.
            healthy: Tells whether the event loop turns.
        """
        self.history = history
        self._engine = engine
        self._alerts = alerts
        self._settings = settings
        self._reload = reload
        self._ready = ready
        self._healthy = healthy

    def metrics(
        self,
        *,
        accept: str,
        accept_encoding: str,
        names: Collection[str],
        sources: Collection[str],
    ) -> MetricsPage:
        """Return the exposition."""
        return self._engine.exposition.metrics(
            accept=accept, accept_encoding=accept_encoding, names=names, sources=sources
        )

    def snapshots(self) -> Iterable[Snapshot]:
        """Return what is known now."""
        self._engine.store.expire()
        return self._engine.store.snapshots()

    def sources(self) -> list[SourceView]:
        """Return how each source is."""
        self._engine.store.expire()
        return [source_view(poller, self._engine.store) for poller in self._engine.pollers.values()]

    def alerts(self) -> Sequence[AlertView] | None:
        """Return what the built-in alerts have found, `None` where they are off."""
        active = self._alerts.active()
        return None if active is None else [alert_view(alert) for alert in active]

    async def explain(self, source: str, kind: str, target_id: str) -> Explanation:
        """Look at one target of the inventory now.

        Raises:
            LookupError: There is no such source, kind or target.
            PollError: The look failed.
        """
        return await self._engine.explain(source, kind, target_id)

    def config(self) -> Mapping[str, Any]:
        """Return the effective settings, redacted."""
        return redacted(self._settings())

    async def reload(self) -> None:
        """Load the configuration again and go over to it.

        Raises:
            ConfigurationError: With every mistake; the old one stays in use.
        """
        await self._reload()

    def now(self) -> Moment:
        """Read the clock."""
        return self._engine.clock.now()

    @property
    def ready(self) -> bool:
        """Whether the first round of polls has finished or was given up."""
        return self._ready()

    @property
    def healthy(self) -> bool:
        """Whether the event loop turns."""
        return self._healthy()


def source_view(poller: Poller, store: Store) -> SourceView:
    """Return how a source is now; what has expired must be gone from the store already."""
    source = poller.source
    settings = source.settings
    return SourceView(
        provider=settings.provider,
        name=settings.name,
        url=settings.url,
        up=source.up,
        auth_failed=source.auth_failed,
        blocked=source.blocked,
        tasks=tuple(
            TaskView(
                name=task,
                interval_seconds=interval,
                status=poller.status(task),
                unread=_is_unread(poller, task, store),
            )
            for task, interval in poller.intervals.items()
        ),
    )


def _is_unread(poller: Poller, task: str, store: Store) -> bool:
    """Tell whether the targets of a task are not known, although it had its turn."""
    settings, status = poller.source.settings, poller.status(task)
    # A task that tells of targets is called as their kind is; of the others nobody expects any.
    if not any(task == f"{kind}s" for kind in PROVIDERS[settings.provider].kinds):
        return False
    if status.last_attempt is None and not poller.source.blocked:
        return False
    known = store.get(settings.provider, settings.name, task)
    return known is None or (not known.readings and _is_partial(known, status))


def _is_partial(snapshot: Snapshot, status: TaskStatus) -> bool:
    """Tell whether the poll that brought a snapshot had failures."""
    success, failure = status.last_success, status.failure
    if failure is None:
        return False
    # The status is set a little after the snapshot: a poll that goes on is not judged by it.
    return success is None or success.monotonic < min(
        failure.at.monotonic, snapshot.taken.monotonic
    )


def alert_view(alert: Alert) -> AlertView:
    """Return a pending or firing alert as it is now."""
    return AlertView(
        name=alert.name,
        severity=alert.labels.get("severity", ""),
        state="firing" if alert.phase is Phase.FIRING else "pending",
        labels=alert.labels,
        annotations=alert.annotations,
        since_timestamp_seconds=alert.since.unix,
    )
