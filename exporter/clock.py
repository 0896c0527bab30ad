"""The one place time comes from, so that no test has to sleep or to patch."""

from __future__ import annotations

import asyncio
import time as _time
from collections.abc import Awaitable, Callable

import msgspec


class Moment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One instant on both clocks.

    Attributes:
        unix: Seconds since the epoch, for whatever people or Prometheus see.
        monotonic: Seconds of the monotonic clock, for ages and durations.
    """

    unix: float
    monotonic: float


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
