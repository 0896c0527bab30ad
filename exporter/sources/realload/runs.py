"""Runs of a suite: whether the newest run is still in flight, and the outcome of finished runs."""

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

#: A run whose numbers have not changed for this time plus two polls counts as over.
_QUIET_SECONDS = 120.0


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """The newest run of a suite, while its state is not "completed".

    The state of a run with failed jobs is not documented, so such a run may be over.

    Attributes:
        run: The run as last listed.
        quiet_since: Monotonic seconds since which the run has not changed.
        over: Whether the exporter counts the run as over.
    """

    run: RunResult
    quiet_since: float
    over: bool


def unfinished(
    run: RunResult, before: Unfinished | None, *, listed: bool, interval: float, now: Moment
) -> Unfinished | None:
    """Judge the newest run of a suite; all older runs are over.

    A run counts as over when it has been quiet, that is unchanged, for 2 minutes plus two polls.
    When a run is first seen, its quiet time is computed from its own time stamps and the exporter's
    clock. Later only observed changes count, because the portal's clock may be wrong: a run whose
    numbers change is in flight, whatever its time stamps say.

    While the portal lists the suite as running, a quiet run is in flight, with two exceptions. If
    the run counted as over before, the suite's next run has begun and has no results yet. If all
    jobs of the run were executed and one failed, nothing is left to run and the failure is shown.
    A failure that was shown stays, even if the run continues.

    Args:
        run: The run as listed now.
        before: The judgement of the last poll, if the newest run was unfinished then.
        listed: Whether the portal lists the suite as running.
        interval: Seconds between two polls.
        now: The time of the list.

    Returns:
        The judgement, or `None` if the run's state is "completed".
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
    """Return runs sorted by their start, or by their id if any start is unknown."""
    known = list(runs)
    if any(measured(run.test_run_start_timestamp) is None for run in known):
        return sorted(known, key=_number, reverse=True)
    return sorted(known, key=_started, reverse=True)


def outcome(run: RunResult) -> Outcome:
    """Return the outcome of a finished run; without sufficient counts it has no verdict."""
    planned, passed, failed = _jobs(run)
    if failed:
        return Outcome.FAILED
    if not planned or passed is None or failed is None or passed > planned:
        return Outcome.NO_VERDICT
    return Outcome.PASSED if passed == planned else Outcome.INCOMPLETE


def is_impossible(run: RunResult) -> bool:
    """Return whether a run executed more jobs than planned."""
    planned, passed, failed = _jobs(run)
    return planned is not None and (passed or 0) + (failed or 0) > planned


def read_run(run: RunResult, *, over: bool) -> SuiteRun:
    """Return a run as a reading; a run in flight has neither an end nor an outcome."""
    planned, passed, failed = _jobs(run)
    not_executed = None
    if planned is not None and passed is not None and failed is not None:
        not_executed = max(0.0, planned - passed - failed)
    start = timestamp(run.test_run_start_timestamp)
    # The last update is the end only of a finished run.
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
    """Return the known counts by result."""
    return {result: count for result, count in values.items() if count is not None}


def _started(run: RunResult) -> tuple[float, int]:
    """Return the identity of a suite's run: the start in milliseconds of the epoch, and the id."""
    return measured(run.test_run_start_timestamp) or 0.0, _number(run)


def _number(run: RunResult) -> int:
    return int(run.test_run_id or 0)


def _jobs(run: RunResult) -> tuple[float | None, float | None, float | None]:
    """Return the numbers of planned, passed and failed jobs."""
    return (
        measured(run.num_testjob_templates_to_execute),
        measured(run.num_testjob_templates_execution_passed),
        measured(run.num_testjob_templates_execution_failed),
    )


def _mean(run: RunResult) -> float | None:
    passed = measured(run.total_sessions_passed)
    total = seconds(run.total_sessions_passed_time_sum)
    return finite(total / passed) if passed and total is not None else None
