"""From what runs to what the pages and `status` show of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts.alert import Phase
from exporter.web.view import AlertView, SourceView, TaskView


if TYPE_CHECKING:
    from exporter.alerts.alert import Alert
    from exporter.polling import Poller


def source_view(poller: Poller) -> SourceView:
    """Return how a source is now."""
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
            TaskView(name=task, interval_seconds=interval, status=poller.status(task))
            for task, interval in poller.intervals.items()
        ),
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
