"""The history of each test ("suite"), made of its runs.

Lists are read newest first and only as far as something can be new, so the finished runs of
earlier polls are kept here, the newest few of each test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.fleet.readings import Suite


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.sources.blazemeter.runs import MasterRow


#: So many finished runs are kept of a test.
HISTORY = 10


class SuiteHistory:
    """The finished runs by test."""

    def __init__(self) -> None:
        self._finished: dict[str, dict[str, MasterRow]] = {}

    def note(self, row: MasterRow) -> None:
        """Take a finished run in, or what is newer about it."""
        if not row.suite_id:
            return
        finished = self._finished.setdefault(row.suite_id, {})
        finished[row.run_id] = row
        if len(finished) > HISTORY:
            del finished[min(finished.values(), key=_by_start).run_id]

    def forget_before(self, unix: float) -> None:
        """Drop the runs that ended before a time, and the tests that have no run left."""
        for suite_id, finished in list(self._finished.items()):
            for run_id, row in list(finished.items()):
                if (row.ended or row.created or unix) < unix:
                    del finished[run_id]
            if not finished:
                del self._finished[suite_id]

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
            suite_id: finished
            for suite_id, finished in self._finished.items()
            if readable.get(max(row.workspace for row in finished.values()), True)
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
