"""Runs of a suite: whether one is still in flight, and what it was once it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.readings import Outcome, SuiteRun
from exporter.sources.decode import finite, measured, text
from exporter.sources.realload.replies import RunResult, seconds, timestamp


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.clock import Moment


#: The only value of `executionState` that is documented.
_COMPLETED = 2

#: A run may be quiet for so long, and two polls longer, before it counts as over.
_QUIET_SECONDS = 120.0


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """The newest run of a suite, while its state is not "completed".

    What the state of a run with failed jobs is, is not documented, so that such a run may be over.

    Attributes:
        run: As it was last listed.
        quiet_since: Since when nothing of it has changed, monotonic seconds.
        over: Whether it was taken for over.
    """

    run: RunResult
    quiet_since: float
    over: bool


def unfinished(
    run: RunResult, before: Unfinished | None, *, listed: bool, interval: float, now: Moment
) -> Unfinished | None:
    """Judge the newest run of a suite; any other is over.

    A run counts as over when it has been quiet for 2 minutes and two polls. At first sight its own
    times are believed, by our clock. Afterwards only what is seen to change counts, since the
    portal's clock may differ from ours: a run whose numbers move is in flight, whatever its times
    say, and one that does not is over in the end.

    While the suite is listed as running, a quiet run is in flight, unless it was taken for over
    before: then the suite's next run has begun and has no results yet. The same holds for one that
    executed all its jobs, of which one failed: nothing of it is left to run, and its failure is
    shown. Once a failure is shown it stays, even if the run should go on.

    Args:
        run: As it is listed now.
        before: What the poll before said of the suite's newest run then, if its state was unknown.
        listed: Whether the portal lists the suite as running.
        interval: Seconds between two polls.
        now: When it was listed.

    Returns:
        `None` if its state says that it is over.
    """
    if run.execution_state == _COMPLETED:
        return None
    planned, passed, failed = _jobs(run)
    ended = bool(failed) and planned is not None and (passed or 0) + (failed or 0) >= planned
    if before is None or _started(before.run) != _started(run):
        times = (run.test_run_start_timestamp, run.test_run_last_updated_timestamp)
        newest = max((each for each in map(seconds, times) if each is not None), default=now.unix)
        quiet_since, over = now.monotonic - max(0.0, now.unix - newest), False
    elif before.run != run:
        quiet_since, over = now.monotonic, before.over and bool(failed)
    else:
        quiet_since, over = before.quiet_since, before.over
    quiet = now.monotonic - quiet_since > _QUIET_SECONDS + 2 * interval
    return Unfinished(
        run=run, quiet_since=quiet_since, over=over or (quiet and (ended or not listed))
    )


def newest_first(runs: Iterable[RunResult]) -> list[RunResult]:
    """Return runs by their start; by their number if a start is not known."""
    known = list(runs)
    if any(measured(run.test_run_start_timestamp) is None for run in known):
        return sorted(known, key=_number, reverse=True)
    return sorted(known, key=_started, reverse=True)


def outcome(run: RunResult) -> Outcome:
    """Return what a run that is over was; without evidence it has no verdict."""
    planned, passed, failed = _jobs(run)
    if failed:
        return Outcome.FAILED
    if not planned or passed is None or failed is None or passed > planned:
        return Outcome.NO_VERDICT
    return Outcome.PASSED if passed == planned else Outcome.INCOMPLETE


def is_impossible(run: RunResult) -> bool:
    """Return whether more jobs were executed than were to be."""
    planned, passed, failed = _jobs(run)
    return planned is not None and (passed or 0) + (failed or 0) > planned


def read_run(run: RunResult, *, over: bool) -> SuiteRun:
    """Return a run as a reading; one in flight has neither an end nor an outcome."""
    planned, passed, failed = _jobs(run)
    not_executed = None
    if planned is not None and passed is not None and failed is not None:
        not_executed = max(0.0, planned - passed - failed)
    start = timestamp(run.test_run_start_timestamp)
    # Of a run in flight the last update is not the end.
    end = timestamp(run.test_run_last_updated_timestamp) if over else None
    return SuiteRun(
        run_id=text(run.test_run_id),
        outcome=outcome(run) if over else None,
        jobs=counts(passed=passed, failed=failed, not_executed=not_executed),
        sessions=counts(
            passed=measured(run.total_sessions_passed), failed=measured(run.total_sessions_failed)
        ),
        samples=counts(
            passed=measured(run.total_samples_passed), failed=measured(run.total_samples_failed)
        ),
        session_mean_seconds=_mean(run),
        max_users=measured(run.max_concurrent_users),
        max_pending_samples=measured(run.max_pending_samples),
        state_code=finite(run.execution_state),
        start_timestamp_seconds=start,
        end_timestamp_seconds=end,
        duration_seconds=None if start is None or end is None else measured(end - start),
    )


def counts(**values: float | None) -> dict[str, float]:
    """Return the counts that are known, by result."""
    return {result: count for result, count in values.items() if count is not None}


def _started(run: RunResult) -> tuple[float, int]:
    """Return what tells a suite's runs apart: the start in epoch milliseconds, and the number."""
    return measured(run.test_run_start_timestamp) or 0.0, _number(run)


def _number(run: RunResult) -> int:
    return int(run.test_run_id or 0)


def _jobs(run: RunResult) -> tuple[float | None, float | None, float | None]:
    """Return how many jobs were to be executed, how many passed and how many failed."""
    return (
        measured(run.num_testjob_templates_to_execute),
        measured(run.num_testjob_templates_execution_passed),
        measured(run.num_testjob_templates_execution_failed),
    )


def _mean(run: RunResult) -> float | None:
    passed = measured(run.total_sessions_passed)
    total = seconds(run.total_sessions_passed_time_sum)
    return finite(total / passed) if passed and total is not None else None
