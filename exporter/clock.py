"""The one place time comes from, so that no test has to sleep or to patch."""

from __future__ import annotations

import asyncio
import math
import time as _time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import msgspec


#: A time stamp beyond this is no time: the year 5138.
LATEST_UNIX = 1e11

#: The beginning of the year 1000; systems write years with fewer digits in different ways.
_EARLIEST_UNIX = -30_610_224_000.0

#: A time that another process wrote down, by a clock that may have begun at any time; decoding
#: fails if no clock can have given it.
Stamp = Annotated[float, msgspec.Meta(ge=-LATEST_UNIX, le=LATEST_UNIX)]


class Moment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One instant on both clocks.

    Attributes:
        unix: Seconds since the epoch, for whatever people or Prometheus see.
        monotonic: Seconds of the monotonic clock, for ages and durations.
    """

    unix: float
    monotonic: float

    def later(self, seconds: float) -> Moment:
        """Return the moment so many seconds after this one."""
        return Moment(unix=self.unix + seconds, monotonic=self.monotonic + seconds)

    def rebased(self, ahead_seconds: float) -> Moment:
        """Return a moment that another process wrote down, on this process's monotonic clock.

        Args:
            ahead_seconds: By how much our monotonic clock is ahead of the writer's.

        Raises:
            ValueError: It is no moment.
        """
        check_unix(self.unix)
        if not abs(self.monotonic) <= LATEST_UNIX:
            raise ValueError("a moment is not on the clock")
        return Moment(unix=self.unix, monotonic=self.monotonic + ahead_seconds)


def check_unix(seconds: float) -> None:
    """Check a time stamp that another process wrote down.

    Raises:
        ValueError: It is no time.
    """
    if not 0.0 <= seconds <= LATEST_UNIX:
        raise ValueError("a time stamp is none")


def utc(unix_seconds: float) -> datetime:
    """Return the date of a time stamp, which may come from anybody: of none it is the nearest."""
    known = 0.0 if math.isnan(unix_seconds) else unix_seconds
    return datetime.fromtimestamp(min(max(known, _EARLIEST_UNIX), LATEST_UNIX), tz=UTC)


def _boottime() -> float:
    """Return seconds since the boot, the machine's sleep included."""
    return _time.clock_gettime(getattr(_time, "CLOCK_BOOTTIME", _time.CLOCK_MONOTONIC))


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """Wall clock, monotonic clock and sleep, handed to everything that needs one of them.

    Attributes:
        time: Seconds since the epoch.
        monotonic: Seconds since an arbitrary point that never jump.
        sleep: Waits for that many seconds.
        boottime: Seconds since the boot, the same in all processes of the host.
    """

    time: Callable[[], float] = _time.time
    monotonic: Callable[[], float] = _time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    boottime: Callable[[], float] = _boottime

    def now(self) -> Moment:
        """Read both clocks."""
        return Moment(unix=self.time(), monotonic=self.monotonic())


SYSTEM_CLOCK = Clock()
