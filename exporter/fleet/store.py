"""The store: one whole snapshot per source and task, none older than its limit.

Everything that shows something (the exposition, the pages, the alerts) reads from here, and
nothing that shows something ever calls a vendor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum, unique

import msgspec

from exporter.clock import Clock, Moment
from exporter.fleet.readings import Reading


#: Provider, source and task.
TaskKey = tuple[str, str, str]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one poll of a task learnt.

    Attributes:
        taken: When the poll ended.
        stale_after: Seconds after which it is no longer true; infinite where it never ages.
        labels: Static labels that the configuration adds to the source's series.
        memory: What the source wants to find again after a restart or a reload; only it can read
            it.
        restored: Whether it was read before a restart and no poll has come since.
    """

    provider: str
    source: str
    task: str
    readings: tuple[Reading, ...]
    taken: Moment
    stale_after: float
    labels: Mapping[str, str] = {}
    memory: bytes = b""
    restored: bool = False

    @property
    def key(self) -> TaskKey:
        """Return the task it is of; the newest snapshot of a task replaces the one before."""
        return (self.provider, self.source, self.task)

    def oldest(self) -> float:
        """Return when, on the monotonic clock, the oldest state that it carries was read."""
        carried = (reading.oldest() for reading in self.readings)
        oldest = min((at for at in carried if at is not None), default=math.inf)
        return min(self.taken.monotonic, oldest)

    def deadline(self) -> float:
        """Compute the monotonic time at which it, or a state it carries over, gets too old."""
        return self.oldest() + self.stale_after

    def aged(self, now: float) -> Snapshot | None:
        """Return what is still true of it at a point of the monotonic clock."""
        not_before = now - self.stale_after
        if self.taken.monotonic < not_before:
            return None
        readings = tuple(reading.fresh(not_before=not_before) for reading in self.readings)
        if readings == self.readings:
            return self
        return msgspec.structs.replace(self, readings=readings)


@unique
class Cause(StrEnum):
    """The reason why a snapshot is no longer what it was."""

    PUT = "put"
    EXPIRED = "expired"
    REMOVED = "removed"


class SnapshotChange(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that came, went or aged."""

    key: TaskKey
    cause: Cause


class Store:
    """All snapshots, each replaced as a whole."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._snapshots: dict[TaskKey, Snapshot] = {}
        self._deadlines: dict[TaskKey, float] = {}
        self._next_deadline = math.inf
        self._subscribers: list[Callable[[SnapshotChange], None]] = []

    def subscribe(self, callback: Callable[[SnapshotChange], None]) -> None:
        """Have every change reported, after it was made."""
        self._subscribers.append(callback)

    def get(self, provider: str, source: str, task: str) -> Snapshot | None:
        """Return the newest snapshot of a task."""
        return self._snapshots.get((provider, source, task))

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return all snapshots by provider, source and task."""
        return tuple(self._snapshots[key] for key in sorted(self._snapshots))

    def of_source(self, provider: str, source: str) -> tuple[Snapshot, ...]:
        """Return the snapshots of one source, in no order that means anything."""
        return tuple(
            snapshot for key, snapshot in self._snapshots.items() if key[:2] == (provider, source)
        )

    def put(self, snapshot: Snapshot) -> None:
        """Replace what was known of a task."""
        self._set(snapshot.key, snapshot)
        self._report(snapshot.key, Cause.PUT)

    def remove(self, provider: str, source: str, task: str) -> None:
        """Drop what was known of a task that is no longer polled."""
        key = (provider, source, task)
        if key in self._snapshots:
            self._set(key, None)
            self._report(key, Cause.REMOVED)

    def remove_source(self, provider: str, source: str) -> None:
        """Drop everything of a source that is no longer configured."""
        for snapshot in self.of_source(provider, source):
            self.remove(*snapshot.key)

    def expire(self) -> tuple[SnapshotChange, ...]:
        """Drop what is too old: whole snapshots, and states carried over inside of others.

        It costs one comparison while nothing is due, so that every scrape can ask for it.

        Returns:
            What was dropped, as it was reported to the subscribers.
        """
        now = self._clock.monotonic()
        if now <= self._next_deadline:
            return ()
        due = sorted(key for key, deadline in self._deadlines.items() if now > deadline)
        expired = []
        for key in due:
            before = self._snapshots[key]
            after = before.aged(now)
            if after is not before:
                self._set(key, after)
                expired.append(key)
        return tuple(self._report(key, Cause.EXPIRED) for key in expired)

    def _set(self, key: TaskKey, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            del self._snapshots[key]
            del self._deadlines[key]
        else:
            self._snapshots[key] = snapshot
            self._deadlines[key] = snapshot.deadline()
        self._next_deadline = min(self._deadlines.values(), default=math.inf)

    def _report(self, key: TaskKey, cause: Cause) -> SnapshotChange:
        change = SnapshotChange(key=key, cause=cause)
        for callback in self._subscribers:
            callback(change)
        return change
