"""The memory of a task: its data that outlives a restart or a reload.

A memory is JSON with a version. If its form or version is not the expected one, it is ignored, and
the task starts as if it had never polled. Times in a memory are Unix timestamps, because a
monotonic clock starts anew with every process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
import structlog

from exporter.clock import Moment
from exporter.fleet.readings import Reading


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.sources.base import Client


T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R", bound=Reading)


def remembered(client: Client, task: str, type_: type[T]) -> T | None:
    """Return the memory that a task left, or `None` if there is none that can be used."""
    memory = client.context.memory.get(task, b"")
    if not memory:
        return None
    try:
        return msgspec.json.decode(memory, type=type_)
    except (ValueError, RecursionError):
        # The error is not logged, because its text could quote bytes of the damaged memory.
        structlog.get_logger("exporter.sources").warning(
            "memory_ignored",
            source=client.settings.name,
            task=task,
            message="the memory is damaged or of another version; the task starts without it",
        )
        return None


def known_readings(client: Client, task: str, type_: type[R]) -> Iterator[R]:
    """Yield a task's readings of a type from before the restart or reload.

    A last-up time in the future becomes now, because the clock was set back in between. A last-up
    time before the epoch is dropped.
    """
    now = client.context.clock.time()
    for reading in client.context.known.get(task, ()):
        if isinstance(reading, type_):
            last_up = getattr(reading, "last_up_timestamp_seconds", None)
            if last_up is None or 0 < last_up <= now:
                yield reading
            else:
                sane = now if last_up > now else None
                yield msgspec.structs.replace(reading, last_up_timestamp_seconds=sane)


def unix_of(monotonic: float, now: Moment) -> float:
    """Return a time of the monotonic clock as a Unix timestamp."""
    return now.unix - (now.monotonic - monotonic)


def moment_of(unix: float, now: Moment) -> Moment:
    """Return a Unix timestamp as a moment on both clocks; a timestamp in the future becomes now."""
    unix = min(now.unix, unix)
    return Moment(unix=unix, monotonic=now.monotonic - (now.unix - unix))
