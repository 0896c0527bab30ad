"""The rows of the sources: their states, and the outcomes of their tasks' polls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import msgspec

from exporter.errors import Reason
from exporter.fleet.kinds import EXPLAINED
from exporter.overview.rows import Condition
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.fleet.store import Snapshot, Store
    from exporter.polling.poller import Poller, TaskStatus
    from exporter.sources.base import Source


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    """The newest failure of a task."""

    timestamp_seconds: float
    reason: Reason
    message: str


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A task of a source.

    Attributes:
        interval_seconds: The time from the start of a poll to the start of the next.
        failing: Whether the newest failure is newer than the newest success.
        up: Whether the newest poll returned readings; `None` before the first poll.
        unread: Whether none of its targets is known although it was polled or held back.
        restored: Whether this is from before a restart, and the task was not polled since.
    """

    name: str
    interval_seconds: float
    failing: bool
    unread: bool
    up: bool | None = None
    last_attempt_timestamp_seconds: float | None = None
    last_success_timestamp_seconds: float | None = None
    last_failure: FailureRow | None = None
    restored: bool = False


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A configured source as it is now.

    Attributes:
        url: The URL of the vendor's API, without user-info and query.
        state: The condition, unknown until a task was polled.
        up: Whether the newest poll of at least one task returned readings.
        auth_failed: Whether calls are held back because the credentials were refused.
        blocked: Whether calls are held back for any reason.
        vendor_slow: Whether the vendor is so slow that time-outs say nothing about the targets.
        labels: The labels that the configuration adds to the source's series.
        standby: Whether this exporter is a standby, and another one has polled the source.
    """

    provider: str
    name: str
    url: str
    state: Condition
    up: bool
    auth_failed: bool
    blocked: bool
    vendor_slow: bool = False
    standby: bool = False
    labels: Mapping[str, str] = {}
    tasks: tuple[TaskRow, ...] = ()


def source_rows(pollers: Iterable[Poller], store: Store) -> list[SourceRow]:
    """Return the rows of polled sources."""
    store.expire()
    rows = []
    for poller in pollers:
        tasks = [
            task_row(task, interval, poller.status(task), unread=_is_unread(poller, task, store))
            for task, interval in poller.intervals.items()
        ]
        row = source_row(
            poller.source,
            *tasks,
            up=poller.up,
            auth_failed=poller.auth_failed,
            vendor_slow=poller.slow,
        )
        rows.append(msgspec.structs.replace(row, standby=poller.stands_by))
    return rows


def source_row(
    source: Source,
    *tasks: TaskRow,
    up: bool,
    auth_failed: bool = False,
    vendor_slow: bool = False,
) -> SourceRow:
    """Return the row of a source, made from the rows of its tasks."""
    attempted = any(
        task.last_attempt_timestamp_seconds is not None and not task.restored for task in tasks
    )
    if up and (attempted or not any(task.restored for task in tasks)):
        state = Condition.UP
    else:
        state = Condition.DOWN if attempted or source.blocked else Condition.UNKNOWN
    return SourceRow(
        provider=source.settings.provider,
        name=source.settings.name,
        url=public_url(source.settings.url),
        state=state,
        up=up,
        auth_failed=auth_failed,
        blocked=source.blocked,
        vendor_slow=vendor_slow,
        labels=source.settings.labels,
        tasks=tasks,
    )


def public_url(url: str) -> str:
    """Return a URL without the parts that can be secret: user-info, query, fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def task_row(name: str, interval_seconds: float, status: TaskStatus, *, unread: bool) -> TaskRow:
    """Return the row of a task, made from the status of its polls."""
    attempt, success, failure = status.last_attempt, status.last_success, status.failure
    failing = failure is not None and (success is None or failure.at.monotonic > success.monotonic)
    return TaskRow(
        name=name,
        interval_seconds=interval_seconds,
        failing=failing,
        unread=unread,
        up=status.health.up if status.health else None,
        last_attempt_timestamp_seconds=attempt.unix if attempt else None,
        last_success_timestamp_seconds=success.unix if success else None,
        last_failure=FailureRow(
            timestamp_seconds=failure.at.unix,
            reason=failure.reason,
            message=failure.message,
        )
        if failure
        else None,
        restored=status.restored,
    )


def _is_unread(poller: Poller, task: str, store: Store) -> bool:
    """Return whether no target of a task is known, although the task was polled or held back."""
    settings, status = poller.source.settings, poller.status(task)
    kinds = PROVIDERS[settings.provider].kinds
    if not any(kind.task == task for kind in EXPLAINED if kind in kinds):
        return False  # the task lists no targets
    if (status.last_attempt is None or status.restored) and not poller.source.blocked:
        return False
    known = store.get(settings.provider, settings.name, task)
    return known is None or (not known.readings and _is_partial(known, status))


def _is_partial(snapshot: Snapshot, status: TaskStatus) -> bool:
    """Return whether the poll that produced a snapshot had failures."""
    success, failure = status.last_success, status.failure
    if failure is None:
        return False
    # The status is set a little after the snapshot, so it may be that of the poll before.
    return success is None or success.monotonic < min(
        failure.at.monotonic, snapshot.taken.monotonic
    )
