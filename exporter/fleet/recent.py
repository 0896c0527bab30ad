"""The newest readings of each target, and its newest failures kept apart.

Good readings come every minute and would push a failure out within the hour, which is when
somebody asks for it; so failures have a ring of their own. Everything is bounded: a target takes
about a kilobyte, and one that left the inventory takes nothing.
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


#: So many readings are kept of each target: an hour of them at the default interval.
KEPT_READINGS = 60

#: So many failures are kept beside them.
KEPT_FAILURES = 10

_KINDS = {kind.reading: kind for kind in LISTED}

# Time stamp, duration (not a number: unknown), outcome and reason by their positions.
_PACKED = Struct("<dfBB")
_OUTCOMES = (None, False, True)
_REASONS: tuple[Reason | None, ...] = (None, *Reason)
_REASON_POSITIONS = {reason: position for position, reason in enumerate(_REASONS)}


class Entry(NamedTuple):
    """One reading of a target.

    Attributes:
        timestamp_seconds: When it was read, epoch.
        duration_seconds: How long the vendor's call to the target took, to a ten-millionth.
        up: The outcome; a suite is up when it can run, a cluster when it can be used and all its
            members are up, a location when one of its agents is.
        reason: The reason why it was not up.
    """

    timestamp_seconds: float
    duration_seconds: float | None
    up: bool | None
    reason: Reason | None


class Judged(NamedTuple):
    """The outcome of a reading, as an `Entry` has it, with the moment at which it was read."""

    at: Moment
    up: bool | None
    reason: Reason | None = None
    duration_seconds: float | None = None


class _Ring:
    """Packed entries; the newest replaces the oldest."""

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
    """Tells new readings of a target from those that were carried over to a newer snapshot."""

    __slots__ = ("_seen", "_stamped")

    def __init__(self) -> None:
        self._seen = self._stamped = -math.inf

    def is_new(self, at: Moment) -> bool:
        """Return whether a reading is none of those before, of which it is the newest from now on.

        To a standby the moment of a reading is told anew each time, a little later or earlier.
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
        """Iterate over the kept readings, newest first."""
        return self._readings.newest_first()

    def failures(self) -> Iterator[Entry]:
        """Iterate over the kept failures, newest first; they reach further back."""
        return iter(()) if self._failures is None else self._failures.newest_first()

    def add(
        self,
        at: Moment,
        *,
        up: bool | None,
        reason: Reason | None = None,
        duration_seconds: float | None = None,
    ) -> None:
        """Add a reading, unless it is one that was only carried over to a newer snapshot."""
        if not self.is_new(at):
            return
        seconds = math.nan if duration_seconds is None else duration_seconds
        packed = _PACKED.pack(at.unix, seconds, _OUTCOMES.index(up), _REASON_POSITIONS[reason])
        self._readings.append(packed)
        if up is False:
            if self._failures is None:
                self._failures = _Ring(KEPT_FAILURES)
            self._failures.append(packed)


#: A target without readings; never added to.
NOTHING = Record()


class Recent:
    """The records of all targets that are in the newest snapshots."""

    def __init__(self) -> None:
        self._records: dict[TaskKey, dict[tuple[str, str], Record]] = {}
        self._due: dict[TaskKey, Snapshot] = {}

    def follow(self, store: Store) -> None:
        """Subscribe to the store and take each new snapshot."""

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
        """Add what is queued, in turns; targets that left the inventory are forgotten."""
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
            if key in self._due:  # else it was removed meanwhile
                self._records[key] = records
            if self._due.get(key) is snapshot:  # else a newer one came meanwhile
                del self._due[key]

    def of(self, provider: str, source: str, kind: str, target_id: str) -> Record:
        """Return the record of a target, an empty one if it has none."""
        for key, records in self._records.items():
            if key[0] == provider and key[1] == source:
                record = records.get((kind, target_id))
                if record is not None:
                    return record
        return NOTHING


def judged(reading: Reading, taken: Moment) -> Judged | None:
    """Return the outcome of a reading, `None` if it has none.

    Args:
        reading: About a target of a listed kind.
        taken: When its snapshot was.
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
