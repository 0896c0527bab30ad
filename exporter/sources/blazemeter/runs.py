"""Runs: the state of followed runs from poll to poll, and their readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.readings import Run
from exporter.sources.blazemeter.masters import MasterRow
from exporter.sources.blazemeter.status import RunEvents, RunStatus, engine_errors


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.clock import Moment


class TrackedRun(msgspec.Struct, kw_only=True):
    """A run that is followed from poll to poll.

    Attributes:
        row: The newest description.
        row_read_at: Monotonic seconds at which the description was read.
        status, status_read_at: The newest status, and monotonic seconds at which it was read.
        over_since: Monotonic seconds of the run's end; `None` while the run is in flight.
        events: The findings in its events; `None` until they are read.
        described: Whether the run's own description was read after its end.
        ci_errors: Whether the vendor lists errors of its engines; `None` until that is read.
        ci_attempts: The number of calls for these errors.
        failed: Whether the newest call for the status failed.
    """

    row: MasterRow
    row_read_at: float
    status: RunStatus | None = None
    status_read_at: float | None = None
    over_since: float | None = None
    events: RunEvents | None = None
    described: bool = False
    ci_errors: bool | None = None
    ci_attempts: int = 0
    failed: bool = False

    @property
    def in_flight(self) -> bool:
        """True if the run is in flight, by its status or its list, whichever is newer."""
        by_status = self.status_read_at is not None and self.status_read_at >= self.row_read_at
        return self.over_since is None and (self.row.ended is None or by_status)

    @property
    def read_at(self) -> float:
        """Monotonic seconds at which anything was last read about the run."""
        if self.status_read_at is None:
            return self.row_read_at
        return max(self.row_read_at, self.status_read_at)

    def is_settling(self, now: Moment, seconds: float) -> bool:
        """Return whether the run ended at most this number of seconds ago."""
        return self.over_since is not None and now.monotonic - self.over_since <= seconds

    def note_row(self, row: MasterRow, now: Moment) -> None:
        """Record a newer description, from a list or from the run's own call."""
        if self.over_since is None:
            row = row.before_its_end()
        row = row.after(self.row)
        workspace = row.workspace or self.row.workspace
        self.row = msgspec.structs.replace(row, workspace=workspace)
        self.row_read_at = now.monotonic

    def note_status(self, status: RunStatus, now: Moment) -> None:
        """Record a new status."""
        self.status, self.status_read_at = status, now.monotonic
        if status.over:
            self._end(now)

    def note_events(self, events: RunEvents, now: Moment) -> None:
        """Record the findings in the run's events, which may include its end."""
        self.events = events
        self._end(now)

    def with_times(self, converted: Callable[[float], float]) -> TrackedRun:
        """Return the run with its monotonic times converted to another clock."""
        read_at, over_since = self.status_read_at, self.over_since
        return msgspec.structs.replace(
            self,
            row_read_at=converted(self.row_read_at),
            status_read_at=None if read_at is None else converted(read_at),
            over_since=None if over_since is None else converted(over_since),
        )

    def finished_row(self) -> MasterRow:
        """Return the description with the boot time and, if it has no end, the end from events."""
        if self.events is None:
            return self.row
        ended = self.events.ended if self.row.ended is None else self.row.ended
        booting = self.events.phase_durations.get("booting")
        return msgspec.structs.replace(self.row, ended=ended, boot_seconds=booting)

    def _end(self, now: Moment) -> None:
        """Mark the run as over since its end, or since now if its end is unknown."""
        ended = self.finished_row().ended
        age = 0.0 if ended is None else max(0.0, now.unix - ended)
        self.over_since = now.monotonic - age


def read_run(
    row: MasterRow,
    status: RunStatus,
    events: RunEvents | None,
    names: Mapping[str, str],
    *,
    ci_errors: bool | None = None,
) -> Run:
    """Return the reading of a run.

    Args:
        row: The run's description, as returned by `TrackedRun.finished_row`.
        status: The run's status.
        events: The findings in the events of a finished run, if they were read.
        names: The names of private locations by the id that runs use, so that a run has the same
            `location` label as its agents.
        ci_errors: Whether the vendor lists errors of its engines, if that was read.
    """
    events = events or RunEvents()
    locations = sorted({names.get(each, each) for each in row.locations or status.locations})
    return Run(
        run_id=row.run_id,
        run=row.name,
        phase=status.phase,
        suite_id=row.suite_id,
        location=",".join(locations),
        progress_code=status.code,
        delayed_start=status.delayed_start,
        engines=status.engines,
        engines_planned=status.engines_planned,
        engines_ratio=status.engines_ratio,
        data_available=status.data_available,
        start_timestamp_seconds=row.created,
        end_timestamp_seconds=row.ended if status.over else None,
        phase_durations=events.phase_durations,
        events=events.levels,
        exit_code=events.exit_code,
        outcome=row.outcome if status.over else None,
        engine_errors=engine_errors(status, events, ci_errors=ci_errors),
    )
