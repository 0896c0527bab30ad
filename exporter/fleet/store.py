"""The store: the newest snapshot of each source and task, until it expires.

The exposition, the pages and the alerts read from the store, and never call a vendor themselves.
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
    """The readings of one poll of a task.

    Attributes:
        taken: When the poll ended.
        stale_after: Seconds after which the snapshot expires; infinite if it never expires.
        labels: Static labels that the configuration adds to the source's series.
        memory: The source's own data for after a restart or a reload, in the source's format.
        restored: Whether the snapshot is from before a restart, with no poll since.
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
        """Provider, source and task; a new snapshot replaces an older one with the same key."""
        return (self.provider, self.source, self.task)

    def oldest(self) -> float:
        """Return when the oldest state in the snapshot was read, on the monotonic clock."""
        carried = (reading.oldest() for reading in self.readings)
        oldest = min((at for at in carried if at is not None), default=math.inf)
        return min(self.taken.monotonic, oldest)

    def deadline(self) -> float:
        """Return when the snapshot, or a state in it, expires next, on the monotonic clock."""
        return self.oldest() + self.stale_after

    def aged(self, now: float) -> Snapshot | None:
        """Return the snapshot without states expired at `now`; `None` if all of it has expired."""
        not_before = now - self.stale_after
        if self.taken.monotonic < not_before:
            return None
        readings = tuple(reading.fresh(not_before=not_before) for reading in self.readings)
        if readings == self.readings:
            return self
        return msgspec.structs.replace(self, readings=readings)


@unique
class Cause(StrEnum):
    """The cause of a change of the store."""

    PUT = "put"
    EXPIRED = "expired"
    REMOVED = "removed"


class SnapshotChange(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that was put, expired (also in part) or was removed."""

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
        """Call a function after each change."""
        self._subscribers.append(callback)

    def get(self, provider: str, source: str, task: str) -> Snapshot | None:
        """Return the newest snapshot of a task."""
        return self._snapshots.get((provider, source, task))

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return all snapshots by provider, source and task."""
        return tuple(self._snapshots[key] for key in sorted(self._snapshots))

    def of_source(self, provider: str, source: str) -> tuple[Snapshot, ...]:
        """Return the snapshots of one source, in any order."""
        return tuple(
            snapshot for key, snapshot in self._snapshots.items() if key[:2] == (provider, source)
        )

    def put(self, snapshot: Snapshot) -> None:
        """Store a snapshot in place of its task's older one."""
        self._set(snapshot.key, snapshot)
        self._report(snapshot.key, Cause.PUT)

    def remove(self, provider: str, source: str, task: str) -> None:
        """Drop the snapshot of a task that is no longer polled."""
        key = (provider, source, task)
        if key in self._snapshots:
            self._set(key, None)
            self._report(key, Cause.REMOVED)

    def remove_source(self, provider: str, source: str) -> None:
        """Drop all snapshots of a source that is no longer configured."""
        for snapshot in self.of_source(provider, source):
            self.remove(*snapshot.key)

    def expire(self) -> tuple[SnapshotChange, ...]:
        """Drop expired snapshots, and expired states carried over in other snapshots.

        This takes one comparison while nothing has expired, so every scrape calls it.

        Returns:
            The changes, as reported to the subscribers.
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
