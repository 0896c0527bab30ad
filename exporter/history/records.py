"""The records the history is made of, as they are written and read."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import NamedTuple

import msgspec

from exporter.fleet.readings import Outcome


#: Seconds of an hour.
HOUR = 3600

#: Pings are kept in whole tenths of a millisecond.
PING_UNITS = 10_000

#: Longer than any call waits.
_NO_PING_SECONDS = 1e6


@unique
class Condition(StrEnum):
    """The condition of a target as far as one is known; `GONE` is no longer in the inventory."""

    UP = "up"
    DOWN = "down"
    INACTIVE = "inactive"
    GONE = "gone"


class TargetKey(NamedTuple):
    """The target that a record is about; its name may change."""

    source: str
    kind: str
    target_id: str


class Transition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The beginning of a condition.

    Attributes:
        timestamp_seconds: When it was first read, epoch.
        outdated: Whether the target's software is too old, as far as that is known.
        reason: Why it is down.
    """

    timestamp_seconds: float
    condition: Condition
    outdated: bool = False
    reason: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The newest transition of a target, as it was written.

    Attributes:
        task: The task that lists the target.
    """

    key: TargetKey
    task: str
    transition: Transition


class Tally(msgspec.Struct, kw_only=False):
    """The readings of one hour by their conditions, in the order of the table's columns.

    Attributes:
        pings: How many of them tell how long the vendor's call to the target took.
        ping_sum, ping_min, ping_max: Of these, in tenths of a millisecond.
    """

    up: int = 0
    down: int = 0
    inactive: int = 0
    pings: int = 0
    ping_sum: int = 0
    ping_min: int | None = None
    ping_max: int | None = None

    def add(self, condition: Condition, ping_seconds: float | None) -> None:
        """Count a reading."""
        if condition is Condition.UP:
            self.up += 1
        elif condition is Condition.DOWN:
            self.down += 1
        else:
            self.inactive += 1
        if ping_seconds is not None and 0 <= ping_seconds < _NO_PING_SECONDS:
            ping = round(ping_seconds * PING_UNITS)
            self._add_pings(1, ping, ping, ping)

    def merge(self, other: Tally) -> None:
        """Count what another one has counted."""
        self.up += other.up
        self.down += other.down
        self.inactive += other.inactive
        if other.ping_min is not None and other.ping_max is not None:
            self._add_pings(other.pings, other.ping_sum, other.ping_min, other.ping_max)

    def _add_pings(self, pings: int, total: int, lowest: int, highest: int) -> None:
        self.pings += pings
        self.ping_sum += total
        self.ping_min = lowest if self.ping_min is None else min(self.ping_min, lowest)
        self.ping_max = highest if self.ping_max is None else max(self.ping_max, highest)


class SuiteResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One finished run of a suite.

    Attributes:
        error_ratio: The share of its samples, or sessions, that failed.
        boot_seconds: How long its engines took to boot.
    """

    run_id: str
    outcome: Outcome
    start_timestamp_seconds: float | None = None
    end_timestamp_seconds: float | None = None
    duration_seconds: float | None = None
    error_ratio: float | None = None
    boot_seconds: float | None = None

    @property
    def passed(self) -> bool | None:
        """Return the verdict; `None` without one."""
        return self.outcome.passed


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of one target, the oldest first; readings by the hour since the epoch."""

    transitions: tuple[Transition, ...] = ()
    hours: Mapping[int, Tally] = {}
    runs: tuple[SuiteResult, ...] = ()


class Batch:
    """Changes that are not written yet."""

    def __init__(self) -> None:
        self.tasks: dict[TargetKey, str] = {}
        self.transitions: list[tuple[TargetKey, Transition]] = []
        self.tallies: dict[tuple[int, TargetKey], Tally] = {}
        self.runs: list[tuple[TargetKey, float, SuiteResult]] = []

    def __bool__(self) -> bool:
        """True if there is anything to write."""
        return bool(self.transitions or self.tallies or self.runs)

    def added_to(self, written: Records) -> Records:
        """Return what is written of a target with what is not yet, where all is of that one."""
        hours = dict(written.hours)
        for (hour, _), tally in self.tallies.items():
            hours[hour] = both = Tally()
            both.merge(written.hours.get(hour, Tally()))
            both.merge(tally)
        runs = {each.run_id: each for each in written.runs}
        for _, _, run in sorted(self.runs, key=lambda each: each[1]):
            runs[run.run_id] = run
        return Records(
            transitions=written.transitions + tuple(each for _, each in self.transitions),
            hours={hour: hours[hour] for hour in sorted(hours)},
            runs=tuple(runs.values()),
        )
