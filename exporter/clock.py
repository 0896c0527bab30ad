"""The only source of time in the program, so that tests need neither sleep nor patch."""

from __future__ import annotations

import asyncio
import math
import time as _time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import msgspec


#: The latest valid time stamp, Unix seconds: in the year 5138.
LATEST_UNIX = 1e11

#: The beginning of the year 1000. Platforms format years of fewer than four digits differently.
_EARLIEST_UNIX = -30_610_224_000.0

#: A time that another process recorded, in Unix or monotonic seconds. Decoding fails if the value
#: is outside the range of both clocks.
Stamp = Annotated[float, msgspec.Meta(ge=-LATEST_UNIX, le=LATEST_UNIX)]


class Moment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One instant on both clocks.

    Attributes:
        unix: Seconds since the epoch, for values that people or Prometheus see.
        monotonic: Seconds of the monotonic clock, for ages and durations.
    """

    unix: float
    monotonic: float

    def later(self, seconds: float) -> Moment:
        """Return the moment `seconds` after this one."""
        return Moment(unix=self.unix + seconds, monotonic=self.monotonic + seconds)

    def rebased(self, ahead_seconds: float) -> Moment:
        """Return a moment of another process, converted to this process's monotonic clock.

        Args:
            ahead_seconds: Our monotonic clock minus the other process's.

        Raises:
            ValueError: A value is outside the range of its clock.
        """
        check_unix(self.unix)
        if not abs(self.monotonic) <= LATEST_UNIX:
            raise ValueError("a monotonic time is out of range")
        return Moment(unix=self.unix, monotonic=self.monotonic + ahead_seconds)


def check_unix(seconds: float) -> None:
    """Check a time stamp that another process recorded.

    Raises:
        ValueError: The time stamp is negative, too large or not a number.
    """
    if not 0.0 <= seconds <= LATEST_UNIX:
        raise ValueError("a time stamp is out of range")


def utc(unix_seconds: float) -> datetime:
    """Return the date of a time stamp. Values out of range are clamped; NaN becomes the epoch."""
    known = 0.0 if math.isnan(unix_seconds) else unix_seconds
    return datetime.fromtimestamp(min(max(known, _EARLIEST_UNIX), LATEST_UNIX), tz=UTC)


def _boottime() -> float:
    """Return seconds since the boot, including suspended time."""
    return _time.clock_gettime(getattr(_time, "CLOCK_BOOTTIME", _time.CLOCK_MONOTONIC))


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """Wall clock, monotonic clock and sleep, passed to every component that needs time.

    Attributes:
        time: Seconds since the epoch.
        monotonic: Seconds since an arbitrary point; never jumps.
        sleep: Waits for the given number of seconds.
        boottime: Seconds since the boot; the same in all processes of the host.
    """

    time: Callable[[], float] = _time.time
    monotonic: Callable[[], float] = _time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    boottime: Callable[[], float] = _boottime

    def now(self) -> Moment:
        """Return the current moment on both clocks."""
        return Moment(unix=self.time(), monotonic=self.monotonic())


SYSTEM_CLOCK = Clock()
