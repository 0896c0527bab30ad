"""From a poller to what the pages and `status` show of its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.web.view import SourceView, TaskView


if TYPE_CHECKING:
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
            for task, interval in settings.intervals().items()
        ),
    )
