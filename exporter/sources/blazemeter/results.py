"""The results of finished runs: counts, times, throughput, users, and errors of the engines.

The results of a finished run do not change, so they are read once. If there are none yet, they are
read again, up to `ATTEMPTS` times.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from exporter.errors import BlockedError
from exporter.sources.blazemeter.calls import PollCalls, fan_out
from exporter.sources.decode import Surprised, measured


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from exporter.sources.blazemeter.client import BlazeMeterClient
    from exporter.sources.blazemeter.masters import MasterRow
    from exporter.sources.blazemeter.replies import Summary, SummaryRow
    from exporter.sources.blazemeter.runs import TrackedRun


#: The largest number of runs whose results one poll reads, the newest first.
RUNS_PER_POLL = 20

#: The largest number of calls for a run that has no results.
ATTEMPTS = 3


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a run; all fields are empty if the vendor has none.

    Attributes:
        attempts: The number of calls for the results.
        samples: The number of requests by result (`passed`, `failed`).
        response_seconds: Response times in seconds by percentile (`90`, `95`, `99`).
    """

    attempts: int = 0
    samples: dict[str, float] = {}
    response_seconds: dict[str, float] = {}
    response_mean_seconds: float | None = None
    requests_per_second: float | None = None
    max_users: float | None = None
    duration_seconds: float | None = None

    @property
    def final(self) -> bool:
        """True if the results need not be read again."""
        return bool(self.samples) or self.attempts >= ATTEMPTS


class ResultBook:
    """The results of the newest finished runs.

    Attributes:
        known: The known results by run id.
    """

    def __init__(self, client: BlazeMeterClient, known: Mapping[str, Results]) -> None:
        """Start with the results known before a restart, by run id."""
        self._client = client
        self.known = dict(known)

    async def read(self, calls: PollCalls, runs: Iterable[MasterRow]) -> None:
        """Read the missing results of some finished runs."""
        due = [run for run in runs if not self._of(run.run_id).final]
        due.sort(key=lambda run: run.ended or run.created or 0.0, reverse=True)
        asks = {
            run.run_id: partial(self._client.summary, run.run_id) for run in due[:RUNS_PER_POLL]
        }
        outcomes = await fan_out(asks)
        found = calls.good_if_any(self._client, outcomes)
        for run_id, outcome in outcomes.items():
            if isinstance(outcome, BlockedError):
                continue  # the guard did not send the call
            attempts = self._of(run_id).attempts + 1
            results = Results()
            if run_id in found:
                results = read_results(found[run_id], self._client.surprise)
            elif self._client.lacks(outcome):
                attempts = ATTEMPTS
            self.known[run_id] = msgspec.structs.replace(results, attempts=attempts)

    def keep(self, run_ids: Collection[str]) -> None:
        """Forget the results of all runs but these."""
        self.known = {each: known for each, known in self.known.items() if each in run_ids}

    def _of(self, run_id: str) -> Results:
        return self.known.get(run_id, Results())


async def read_ci_errors(
    client: BlazeMeterClient, calls: PollCalls, runs: Iterable[TrackedRun]
) -> None:
    """Read whether the engines of finished runs had errors, for runs where this is unknown."""
    due = [
        run
        for run in runs
        if run.over_since is not None and run.ci_errors is None and run.ci_attempts < ATTEMPTS
    ][:RUNS_PER_POLL]
    outcomes = await fan_out(
        {run.row.run_id: partial(client.ci_status, run.row.run_id) for run in due}
    )
    found = calls.good_if_any(client, outcomes)
    for run in due:
        outcome = outcomes[run.row.run_id]
        if isinstance(outcome, BlockedError):
            continue  # the guard did not send the call
        run.ci_attempts += ATTEMPTS if client.lacks(outcome) else 1
        if run.row.run_id in found:
            run.ci_errors = bool(found[run.row.run_id].errors)


def read_results(summary: Summary, surprise: Surprised) -> Results:
    """Return the results of a whole run, from the row for all labels.

    A null or negative value counts as absent. If there were no requests, response times are absent.
    """
    row = next((row for row in summary.summary or () if _is_total(row)), None)
    if row is None:
        return Results()
    hits, failed = measured(row.hits), measured(row.failed)
    samples = {}
    if hits is not None and failed is not None:
        if failed <= hits:
            samples = {"passed": hits - failed, "failed": failed}
        else:
            surprise("type")
    times = {"90": row.tp90, "95": row.tp95, "99": row.tp99} if hits != 0 else {}
    users = measured(row.max_users)
    return Results(
        samples=samples,
        response_seconds={
            percentile: seconds
            for percentile, time in times.items()
            if (seconds := _seconds(time)) is not None
        },
        response_mean_seconds=_seconds(row.avg) if hits != 0 else None,
        requests_per_second=measured(row.hits_avg),
        max_users=measured(row.concurrency) if users is None else users,
        duration_seconds=measured(row.duration) or None,
    )


def _is_total(row: SummaryRow) -> bool:
    return "ALL" in (row.id, row.lb)


def _seconds(milliseconds: float | None) -> float | None:
    number = measured(milliseconds)
    return None if number is None else number / 1000
