"""The records of the history, as they are written to the file and read from it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import NamedTuple

import msgspec

from exporter.fleet.readings import Outcome


#: The seconds of an hour.
HOUR = 3600

#: The units of a ping per second: pings are kept as whole tenths of a millisecond.
PING_UNITS = 10_000

#: Longer durations are no pings, since no call waits that long.
_NO_PING_SECONDS = 1e6


@unique
class Condition(StrEnum):
    """The condition of a target; `GONE` means that it has left the inventory."""

    UP = "up"
    DOWN = "down"
    INACTIVE = "inactive"
    GONE = "gone"


class TargetKey(NamedTuple):
    """The identity of a target, without its name, which may change."""

    source: str
    kind: str
    target_id: str


class Transition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The beginning of a condition.

    Attributes:
        timestamp_seconds: The time of the first reading with this condition, a Unix time.
        outdated: Whether the target's software is known to be too old.
        reason: The reason why the target is down; empty otherwise.
    """

    timestamp_seconds: float
    condition: Condition
    outdated: bool = False
    reason: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The newest transition of a target.

    Attributes:
        task: The task that lists the target.
    """

    key: TargetKey
    task: str
    transition: Transition


class Tally(msgspec.Struct, kw_only=False):
    """The number of readings of one hour by condition, in the order of the table's columns.

    Attributes:
        pings: The number of readings with a ping, the duration of the vendor's call to the target.
        ping_sum, ping_min, ping_max: The sum, least and greatest of these pings, in tenths of a
            millisecond.
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
        """Add the counts of another tally."""
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
        error_ratio: The share of the run's samples, or sessions, that failed.
        boot_seconds: How long the run's engines took to boot.
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
        """The verdict, `None` without one."""
        return self.outcome.passed


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """The records of one target, the oldest first.

    Attributes:
        hours: The readings by hour, numbered since the epoch.
    """

    transitions: tuple[Transition, ...] = ()
    hours: Mapping[int, Tally] = {}
    runs: tuple[SuiteResult, ...] = ()


class Batch:
    """Records that are not written yet.

    Attributes:
        tasks: The tasks that list the targets.
        transitions: New transitions.
        tallies: Readings to add, by hour since the epoch and target.
        runs: Finished runs of suites, each with a Unix time to sort by.
    """

    def __init__(self) -> None:
        self.tasks: dict[TargetKey, str] = {}
        self.transitions: list[tuple[TargetKey, Transition]] = []
        self.tallies: dict[tuple[int, TargetKey], Tally] = {}
        self.runs: list[tuple[TargetKey, float, SuiteResult]] = []

    def __bool__(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self.transitions or self.tallies or self.runs)

    def added_to(self, written: Records) -> Records:
        """Return a target's written records with those of this batch, all of the same target."""
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
