"""What is known of each test ("suite") from its runs.

Lists are read newest first and only as far as something can be new, so the finished runs of
earlier polls are kept here, the newest few of each test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.readings import Suite
from exporter.sources.blazemeter.runs import MasterRow


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


#: So many finished runs are kept of a test.
HISTORY = 10


class _Entry(msgspec.Struct, kw_only=True):
    """A test; `workspace` is 0 for one that is known from a single run only."""

    workspace: int
    finished: dict[str, MasterRow]


class SuiteHistory:
    """The finished runs by test."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def note(self, row: MasterRow, *, workspace: int) -> None:
        """Take a finished run in, or what is newer about it."""
        if not row.suite_id:
            return
        entry = self._entries.setdefault(row.suite_id, _Entry(workspace=workspace, finished={}))
        entry.workspace = workspace or entry.workspace
        entry.finished[row.run_id] = row
        if len(entry.finished) > HISTORY:
            oldest = min(entry.finished.values(), key=_by_start)
            del entry.finished[oldest.run_id]

    def forget_before(self, unix: float) -> None:
        """Drop the runs that ended before a time, and the tests that have no run left."""
        for suite_id, entry in list(self._entries.items()):
            entry.finished = {
                run_id: row
                for run_id, row in entry.finished.items()
                if (row.ended or row.created or unix) >= unix
            }
            if not entry.finished:
                del self._entries[suite_id]

    def suites(
        self, current: Iterable[MasterRow], *, readable: Mapping[int, bool]
    ) -> tuple[Suite, ...]:
        """Return all tests that have a finished run or one in flight.

        Args:
            current: The runs in flight.
            readable: By workspace, whether its list was read of late; the tests of one that
                was not are left out, since newer runs of theirs may be missing.
        """
        running: dict[str, list[MasterRow]] = {}
        for row in current:
            if row.suite_id:
                running.setdefault(row.suite_id, []).append(row)
        known = {
            suite_id: entry.finished
            for suite_id, entry in self._entries.items()
            if readable.get(entry.workspace, True)
        }
        return tuple(
            read_suite(suite_id, known.get(suite_id, {}).values(), running.get(suite_id, ()))
            for suite_id in sorted(known.keys() | running.keys())
        )


def read_suite(suite_id: str, finished: Iterable[MasterRow], current: Iterable[MasterRow]) -> Suite:
    """Return a test; there must be a run.

    Its name is its newest run's: lists do not give the test's own.
    """
    done = sorted(finished, key=_by_start, reverse=True)[:HISTORY]
    flying = sorted(current, key=_by_start, reverse=True)
    history = tuple(row.as_finished() for row in done)
    return Suite(
        suite_id=suite_id,
        suite=max((*flying[:1], *done[:1]), key=_by_start).name,
        running=bool(flying),
        last_run=history[0] if history else None,
        current_run=flying[0].as_current() if flying else None,
        history=history,
    )


def _by_start(row: MasterRow) -> tuple[float, int]:
    """Order by start; ids grow, which decides where a start is missing or shared."""
    return row.created or 0.0, int(row.run_id)
