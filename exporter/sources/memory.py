"""The memory of a task: what it wants to find again after a restart or a reload.

It is JSON with a version, and everything that is not of exactly that form is ignored: a source
then begins as if it had never polled. Times are seconds of the epoch in it, since the monotonic
clock of another start is another clock.
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
    """Return the memory of a task from before, `None` if there is none that can be used."""
    memory = client.context.memory.get(task, b"")
    if not memory:
        return None
    try:
        return msgspec.json.decode(memory, type=type_)
    except (ValueError, RecursionError):
        # Not a word of why: the error would quote what may be anybody's bytes.
        structlog.get_logger("exporter.sources").warning(
            "memory_ignored",
            source=client.settings.name,
            task=task,
            message="it is damaged or of another version; the task begins anew",
        )
        return None


def known_readings(client: Client, task: str, type_: type[R]) -> Iterator[R]:
    """Yield a task's readings of a type from before.

    A target that was last up in the future was last up now, by a clock that was set back since; a
    time before the epoch is none.
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
    """Return a time of the monotonic clock as seconds of the epoch."""
    return now.unix - (now.monotonic - monotonic)


def moment_of(unix: float, now: Moment) -> Moment:
    """Return a time in seconds of the epoch on both clocks; one still to come is taken for now."""
    unix = min(now.unix, unix)
    return Moment(unix=unix, monotonic=now.monotonic - (now.unix - unix))
