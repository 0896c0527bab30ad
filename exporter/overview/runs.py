"""The runs in flight, gathered from what is followed run by run and from what suites tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.fleet.readings import PHASES, Run, Suite
from exporter.overview.rows import RunRow


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.clock import Moment
    from exporter.fleet.store import Snapshot


#: The phase of a run of which only its suite tells.
_RUNNING = "running"

#: The phase of a run that is no longer in flight.
_ENDED = "ended"

_PLACES = {phase: place for place, phase in enumerate(PHASES)}


def runs_in_flight(snapshots: Iterable[Snapshot], now: Moment) -> list[RunRow]:
    """Return each run in flight once, by phase and then the oldest first.

    A run that is followed by itself is not told again from its suite, even when it has ended.
    """
    known = tuple(snapshots)
    suites = {
        (snapshot.source, reading.suite_id): reading.suite
        for snapshot in known
        for reading in snapshot.readings
        if isinstance(reading, Suite)
    }
    runs: dict[tuple[str, str], RunRow] = {}
    told: list[RunRow] = []
    for snapshot in known:
        for reading in snapshot.readings:
            match reading:
                case Run():
                    suite = suites.get((snapshot.source, reading.suite_id), reading.suite_id)
                    row = run_row(reading, snapshot, now, suite=suite)
                    runs[row.source, row.id] = row
                case Suite(current_run=current) if current is not None:
                    told.append(
                        RunRow(
                            provider=snapshot.provider,
                            source=snapshot.source,
                            id=current.run_id,
                            name=reading.suite,
                            phase=_RUNNING,
                            followed=False,
                            suite_id=reading.suite_id,
                            suite=reading.suite,
                            start_timestamp_seconds=current.start_timestamp_seconds,
                            age_seconds=_age(current.start_timestamp_seconds, now),
                        )
                    )
                case _:
                    pass
    for row in told:
        runs.setdefault((row.source, row.id or f"of {row.suite_id}"), row)
    return sorted((row for row in runs.values() if row.phase != _ENDED), key=_place)


def run_row(run: Run, snapshot: Snapshot, now: Moment, *, suite: str = "") -> RunRow:
    """Make the row of a run that is followed by itself."""
    return RunRow(
        provider=snapshot.provider,
        source=snapshot.source,
        id=run.run_id,
        name=run.run or run.run_id,
        phase=run.phase,
        followed=True,
        suite_id=run.suite_id,
        suite=suite or run.suite_id,
        agent=run.agent,
        location=run.location,
        engines=run.engines,
        start_timestamp_seconds=run.start_timestamp_seconds,
        age_seconds=_age(run.start_timestamp_seconds, now),
    )


def _place(row: RunRow) -> tuple[object, ...]:
    return (
        _PLACES.get(row.phase, len(_PLACES)),
        row.start_timestamp_seconds or 0.0,
        row.source,
        row.id,
    )


def _age(start_timestamp_seconds: float | None, now: Moment) -> float | None:
    if start_timestamp_seconds is None:
        return None
    return max(0.0, now.unix - start_timestamp_seconds)
