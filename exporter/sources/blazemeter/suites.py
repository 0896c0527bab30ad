"""Suites, that is tests and multi-tests, with the history of their runs.

A poll reads only the new part of a list, so the newest few finished runs of each suite are kept
here from poll to poll.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.fleet.readings import Outcome, Suite, SuiteRun
from exporter.sources.blazemeter.results import Results


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from exporter.sources.blazemeter.masters import MasterRow


#: The number of finished runs kept per suite, in addition to the newest run with a verdict.
HISTORY = 10


class SuiteHistory:
    """The finished runs of each suite."""

    def __init__(self) -> None:
        self._finished: dict[str, dict[str, MasterRow]] = {}

    def note(self, row: MasterRow) -> None:
        """Record a finished run, or a newer description of it."""
        if not row.suite_id:
            return
        finished = self._finished.setdefault(row.suite_id, {})
        known = finished.get(row.run_id)
        finished[row.run_id] = row if known is None else row.after(known)
        if len(finished) > HISTORY:
            by_age = sorted(finished.values(), key=_by_start, reverse=True)
            judged = [each for each in by_age if _verdict(each) is not None]
            kept = (*by_age[:HISTORY], *judged[:1])
            self._finished[row.suite_id] = {each.run_id: each for each in kept}

    def rows(self) -> Iterator[MasterRow]:
        """Yield the finished runs of all suites."""
        for finished in self._finished.values():
            yield from finished.values()

    def newest(self) -> list[MasterRow]:
        """Return the newest finished run of each suite."""
        return [max(finished.values(), key=_by_start) for finished in self._finished.values()]

    def forget_before(self, unix: float) -> None:
        """Drop the runs that ended before a time, and the suites that have no run left."""
        for suite_id, finished in list(self._finished.items()):
            for run_id, row in list(finished.items()):
                if (row.ended or row.created or unix) < unix:
                    del finished[run_id]
            if not finished:
                del self._finished[suite_id]

    def suites(
        self,
        current: Iterable[MasterRow],
        *,
        readable: Mapping[int, bool],
        name_of: Callable[[str], str | None],
        results: Mapping[str, Results],
    ) -> tuple[Suite, ...]:
        """Return the readings of all suites that have a known name and at least one run.

        Args:
            current: The runs in flight.
            readable: Whether the list of each workspace was read recently. Suites of other
                workspaces are left out, because their newer runs may be missing.
            name_of: Returns the name of a suite by its id, `None` if it is not known.
            results: The results of finished runs, by run id.
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
            read_suite(
                suite_id,
                name,
                known.get(suite_id, {}).values(),
                running.get(suite_id, ()),
                results=results,
            )
            for suite_id in sorted(known.keys() | running.keys())
            if (name := name_of(suite_id)) is not None
        )


def read_suite(
    suite_id: str,
    name: str,
    finished: Iterable[MasterRow],
    current: Iterable[MasterRow],
    *,
    results: Mapping[str, Results],
) -> Suite:
    """Return the reading of a suite that has at least one run."""
    by_age = sorted(finished, key=_by_start, reverse=True)
    flying = sorted(current, key=_by_start, reverse=True)
    history = tuple(_finished(row, results.get(row.run_id, Results())) for row in by_age[:HISTORY])
    verdicts = (verdict for row in by_age if (verdict := _verdict(row)) is not None)
    return Suite(
        suite_id=suite_id,
        suite=name,
        running=bool(flying),
        last_run=history[0] if history else None,
        last_run_passed=next(verdicts, None),
        current_run=_current(flying[0]) if flying else None,
        history=history,
    )


def _finished(row: MasterRow, results: Results) -> SuiteRun:
    duration = None
    if row.created is not None and row.ended is not None and row.ended >= row.created:
        duration = row.ended - row.created
    return SuiteRun(
        run_id=row.run_id,
        outcome=row.outcome or Outcome.NO_VERDICT,
        samples=results.samples,
        max_users=row.max_users if results.max_users is None else results.max_users,
        start_timestamp_seconds=row.created,
        end_timestamp_seconds=row.ended,
        duration_seconds=results.duration_seconds if duration is None else duration,
        response_seconds=results.response_seconds,
        response_mean_seconds=results.response_mean_seconds,
        requests_per_second=results.requests_per_second,
        boot_seconds=row.boot_seconds,
    )


def _current(row: MasterRow) -> SuiteRun:
    return SuiteRun(run_id=row.run_id, start_timestamp_seconds=row.created)


def _verdict(row: MasterRow) -> bool | None:
    return None if row.outcome is None else row.outcome.passed


def _by_start(row: MasterRow) -> tuple[float, int]:
    """Return the sort key for runs: the start, then the id, because newer runs have larger ids."""
    return row.created or 0.0, int(row.run_id)
