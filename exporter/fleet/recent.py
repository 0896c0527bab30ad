"""The newest readings of each target, and separately its newest failures.

Failures have their own ring buffer, because good readings, one a minute, would displace them within
an hour. Memory is bounded: about a kilobyte per target, and nothing for a target that has left the
inventory.
"""

from __future__ import annotations

import asyncio
import math
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from exporter.cooperative import TURN
from exporter.errors import Reason
from exporter.fleet.kinds import LISTED
from exporter.fleet.readings import (
    Agent,
    Cluster,
    Controller,
    Location,
    Reading,
    Recorder,
    Suite,
)
from exporter.fleet.store import Cause


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.clock import Moment
    from exporter.fleet.store import Snapshot, SnapshotChange, Store, TaskKey


#: How many readings of each target are kept: an hour of them at the default interval.
KEPT_READINGS = 60

#: How many failures of each target are kept, besides the readings.
KEPT_FAILURES = 10

_KINDS = {kind.reading: kind for kind in LISTED}

# Timestamp, duration (NaN if unknown), index of the outcome, index of the reason.
_PACKED = Struct("<dfBB")
_OUTCOMES = (None, False, True)
_REASONS: tuple[Reason | None, ...] = (None, *Reason)
_REASON_POSITIONS = {reason: position for position, reason in enumerate(_REASONS)}


class Entry(NamedTuple):
    """One reading of a target.

    Attributes:
        timestamp_seconds: When the reading was made, in Unix seconds.
        duration_seconds: How long the vendor's call to the target took, with a relative precision
            of 1e-7.
        up: The outcome. A suite is up if it can run, a cluster if it can be used and all its
            members are up, a location if one of its agents is up.
        reason: The reason why the target was not up.
    """

    timestamp_seconds: float
    duration_seconds: float | None
    up: bool | None
    reason: Reason | None


class Judged(NamedTuple):
    """The outcome of a reading as in `Entry`, with the moment of the reading."""

    at: Moment
    up: bool | None
    reason: Reason | None = None
    duration_seconds: float | None = None


class _Ring:
    """A ring buffer of packed entries; a new entry replaces the oldest."""

    __slots__ = ("_data", "_next", "_size")

    def __init__(self, kept: int) -> None:
        self._size = kept * _PACKED.size
        self._data = bytearray()
        self._next = 0

    def append(self, packed: bytes) -> None:
        end = self._next + _PACKED.size
        self._data[self._next : end] = packed
        self._next = end % self._size

    def newest_first(self) -> Iterator[Entry]:
        newer, older = self._data[: self._next], self._data[self._next :]
        for part in (newer, older):
            for offset in range(len(part) - _PACKED.size, -1, -_PACKED.size):
                at, seconds, outcome, reason = _PACKED.unpack_from(part, offset)
                yield Entry(
                    at,
                    None if math.isnan(seconds) else seconds,
                    _OUTCOMES[outcome],
                    _REASONS[reason],
                )


class Dated:
    """Detection of new readings of a target, as opposed to those carried over from a snapshot."""

    __slots__ = ("_seen", "_stamped")

    def __init__(self) -> None:
        self._seen = self._stamped = -math.inf

    def is_new(self, at: Moment) -> bool:
        """Return whether a reading is new, and remember its time.

        On a standby the monotonic time of one reading varies a little between snapshots.
        """
        if at.monotonic <= self._seen or at.unix == self._stamped:
            return False
        self._seen, self._stamped = at.monotonic, at.unix
        return True


class Record(Dated):
    """The newest readings of one target."""

    __slots__ = ("_failures", "_readings")

    def __init__(self) -> None:
        super().__init__()
        self._readings = _Ring(KEPT_READINGS)
        self._failures: _Ring | None = None

    def readings(self) -> Iterator[Entry]:
        """Return an iterator over the kept readings, newest first."""
        return self._readings.newest_first()

    def failures(self) -> Iterator[Entry]:
        """Return an iterator over the kept failures, newest first."""
        return iter(()) if self._failures is None else self._failures.newest_first()

    def add(
        self,
        at: Moment,
        *,
        up: bool | None,
        reason: Reason | None = None,
        duration_seconds: float | None = None,
    ) -> None:
        """Add a reading, unless it was only carried over to a new snapshot."""
        if not self.is_new(at):
            return
        seconds = math.nan if duration_seconds is None else duration_seconds
        packed = _PACKED.pack(at.unix, seconds, _OUTCOMES.index(up), _REASON_POSITIONS[reason])
        self._readings.append(packed)
        if up is False:
            if self._failures is None:
                self._failures = _Ring(KEPT_FAILURES)
            self._failures.append(packed)


#: The record of targets without readings; it stays empty.
NOTHING = Record()


class Recent:
    """The records of all targets in the newest snapshots."""

    def __init__(self) -> None:
        self._records: dict[TaskKey, dict[tuple[str, str], Record]] = {}
        self._due: dict[TaskKey, Snapshot] = {}

    def follow(self, store: Store) -> None:
        """Subscribe to the store and queue each new snapshot."""

        def note(change: SnapshotChange) -> None:
            snapshot = store.get(*change.key)
            if change.cause is Cause.PUT and snapshot is not None:
                self.take(snapshot)
            elif change.cause is Cause.REMOVED:
                self._due.pop(change.key, None)
                self._records.pop(change.key, None)

        store.subscribe(note)

    def take(self, snapshot: Snapshot) -> None:
        """Queue a snapshot whose readings the next `catch_up` adds."""
        self._due[snapshot.key] = snapshot

    async def catch_up(self) -> None:
        """Add the queued snapshots, pausing for other tasks, and drop targets that are gone."""
        while self._due:
            key, snapshot = next(iter(self._due.items()))
            known = self._records.get(key, {})
            records: dict[tuple[str, str], Record] = {}
            for start in range(0, len(snapshot.readings), TURN):
                for reading in snapshot.readings[start : start + TURN]:
                    kind = _KINDS.get(type(reading))
                    if kind is not None:
                        target = (kind, kind.id_of(reading))
                        records[target] = record = known.get(target) or Record()
                        _add(record, reading, snapshot.taken)
                await asyncio.sleep(0)
            if key in self._due:  # not removed in the meantime
                self._records[key] = records
            if self._due.get(key) is snapshot:  # not replaced in the meantime
                del self._due[key]

    def of(self, provider: str, source: str, kind: str, target_id: str) -> Record:
        """Return the record of a target, an empty record for an unknown target."""
        for key, records in self._records.items():
            if key[0] == provider and key[1] == source:
                record = records.get((kind, target_id))
                if record is not None:
                    return record
        return NOTHING


def judged(reading: Reading, taken: Moment) -> Judged | None:
    """Return the outcome of a reading, `None` if it has none.

    Args:
        reading: The reading of a target of a listed kind.
        taken: When the reading's snapshot was taken.
    """
    match reading:
        case Agent(state=state) | Controller(state=state) | Recorder(state=state) if (
            state is not None
        ):
            return Judged(state.read_at, state.up, state.reason, state.ping_duration_seconds)
        case Cluster(state=state) if state is not None:
            members = [member.state for member in reading.members if member.active is not False]
            states = [state, *members]
            down = [each for each in states if each is not None and each.up is False]
            return Judged(
                state.read_at,
                False if down else None if None in members else True,
                down[0].reason if down else None,
                state.ping_duration_seconds,
            )
        case Location(agents_up=count) if count is not None:
            return Judged(reading.read_at, count > 0)
        case Suite():
            return Judged(taken, reading.healthy)
    return None


def _add(record: Record, reading: Reading, taken: Moment) -> None:
    outcome = judged(reading, taken)
    if outcome is not None:
        record.add(
            outcome.at,
            up=outcome.up,
            reason=outcome.reason,
            duration_seconds=outcome.duration_seconds,
        )
