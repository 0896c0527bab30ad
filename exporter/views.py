"""From a poller to what the pages and `status` show of its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.web.view import FailureView, SourceView, TaskView


if TYPE_CHECKING:
    from exporter.polling import Poller, TaskStatus


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
            _task_view(task, interval, poller.status(task))
            for task, interval in settings.intervals().items()
        ),
    )


def _task_view(name: str, interval_seconds: float, status: TaskStatus) -> TaskView:
    failure = status.failure
    return TaskView(
        name=name,
        interval_seconds=interval_seconds,
        last_attempt=status.last_attempt,
        last_success=status.last_success,
        failure=FailureView(at=failure.at, reason=failure.reason, message=failure.message)
        if failure
        else None,
    )
