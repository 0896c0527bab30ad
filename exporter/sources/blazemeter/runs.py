"""Runs that are followed, from the first sight until some time after their end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.readings import Run
from exporter.sources.blazemeter.events import (
    count_by_level,
    end_of,
    phase_durations,
    worst_exit_code,
)
from exporter.sources.blazemeter.masters import MasterRow
from exporter.sources.blazemeter.phases import code_of, is_over, phase_of
from exporter.sources.blazemeter.values import ratio
from exporter.sources.decode import Surprised, finite


if TYPE_CHECKING:
    from exporter.clock import Moment
    from exporter.sources.blazemeter.replies import Engines, Status


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands; `over` when it is no longer in flight."""

    phase: str
    over: bool
    code: float | None = None
    engines: float | None = None
    engines_ratio: Mapping[str, float] = {}
    data_available: bool | None = None
    locations: tuple[str, ...] = ()


class RunTail(msgspec.Struct, frozen=True, kw_only=True):
    """What the events of an ended run told; all absent when the reply had no events."""

    ended: float | None = None
    exit_code: float | None = None
    events: Mapping[str, float] = {}
    phase_durations: Mapping[str, float] = {}


class Watch(msgspec.Struct, kw_only=True):
    """A run that is followed.

    Attributes:
        row: Its newest description.
        row_read_at: When that was read, monotonic seconds.
        status, status_read_at: Where it stood at the newest look that succeeded, and when.
        over_since: Monotonic seconds since when it is over; `None` while it is in flight.
        tail: What its events told, once they were read.
        failed: Whether the newest call about it did.
    """

    row: MasterRow
    workspace: int = 0
    row_read_at: float
    status: RunStatus | None = None
    status_read_at: float | None = None
    over_since: float | None = None
    tail: RunTail | None = None
    failed: bool = False

    @property
    def run_id(self) -> str:
        """Name the run."""
        return self.row.run_id

    @property
    def in_flight(self) -> bool:
        """Whether it goes on, by its status; by its list while that is the newer one."""
        told = self.status_read_at is not None and self.status_read_at >= self.row_read_at
        return self.over_since is None and (self.row.ended is None or told)

    @property
    def heard_of(self) -> float:
        """When something was last read about it, monotonic seconds."""
        return max(self.row_read_at, self.status_read_at or 0.0)

    @property
    def lacks_verdict(self) -> bool:
        """Whether its description leaves something open that may come after the end."""
        return self.row.passed is None or self.row.ended is None

    def is_settling(self, now: Moment, seconds: float) -> bool:
        """Tell whether it is over, and not for longer than so many seconds."""
        return self.over_since is not None and now.monotonic - self.over_since <= seconds

    def note(self, status: RunStatus, now: Moment) -> None:
        """Take in where it stands now."""
        self.status, self.status_read_at = status, now.monotonic
        if status.over:
            self.end(now)

    def finished_row(self) -> MasterRow:
        """Return its description, with the end from the events where the list has none yet."""
        if self.row.ended is None and self.tail is not None and self.tail.ended is not None:
            return msgspec.structs.replace(self.row, ended=self.tail.ended)
        return self.row

    def end(self, now: Moment) -> None:
        """Note that it is over, since its own end if that is known and else since now."""
        ended = self.finished_row().ended
        age = 0.0 if ended is None else max(0.0, now.unix - ended)
        self.over_since = now.monotonic - age


def read_status(status: Status, surprise: Surprised) -> RunStatus:
    """Read where a run stands."""
    progress = finite(status.progress)
    if progress is not None and progress < 0:
        progress = None  # old versions of the vendor's API say "no data" by -1
    code = code_of(status.status, progress, surprise)
    sessions = status.sessions
    if code is None:
        surprise("missing_field")
    return RunStatus(
        phase=phase_of(code),
        over=is_over(code),
        code=code,
        engines=None if sessions is None else float(len(sessions)),
        engines_ratio=_engines_ratio(status.statuses, surprise),
        data_available=status.is_data_available,
        locations=tuple(session.location_id for session in sessions or () if session.location_id),
    )


def read_tail(status: Status, surprise: Surprised) -> RunTail:
    """Read the events of an ended run."""
    if status.events is None:
        return RunTail()
    return RunTail(
        ended=end_of(status.events),
        exit_code=worst_exit_code(status.events),
        events=count_by_level(status.events, surprise),
        phase_durations=phase_durations(status.events),
    )


def read_run(
    row: MasterRow, status: RunStatus, tail: RunTail | None, names: Mapping[str, str]
) -> Run:
    """Put a run together.

    Args:
        row: Its description, as `Watch.finished_row` gives it.
        status: Where it stands.
        tail: What its events told, if it is over and they were read.
        names: Of private locations by the id that runs use, so that a run's location reads like
            its agents'.
    """
    tail = tail or RunTail()
    locations = sorted({names.get(each, each) for each in row.locations or status.locations})
    return Run(
        run_id=row.run_id,
        run=row.name,
        phase=status.phase,
        suite_id=row.suite_id,
        location=",".join(locations),
        progress_code=status.code,
        engines=status.engines,
        engines_ratio=status.engines_ratio,
        data_available=status.data_available,
        start_timestamp_seconds=row.created,
        end_timestamp_seconds=row.ended if status.over else None,
        phase_durations=tail.phase_durations,
        events=tail.events,
        exit_code=tail.exit_code,
        passed=row.passed if status.over else None,
    )


def _engines_ratio(engines: Engines | None, surprise: Surprised) -> Mapping[str, float]:
    if engines is None:
        return {}
    found: dict[str, float] = {}
    for phase, percent in msgspec.structs.asdict(engines).items():
        share = ratio(percent)
        if share is not None:
            found[phase] = share
        elif percent is not None:
            surprise("type")
    return found
