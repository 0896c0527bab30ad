"""The test of a master as a run; Locust gives it neither an id nor a start time nor a verdict."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from exporter.sources.api import Outcome, Run, measured
from exporter.sources.locust.families import RunLoad
from exporter.sources.locust.replies import aggregate, count, percentiles


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.sources.api import Moment, Reading, Surprised
    from exporter.sources.locust.replies import Stats


#: Phases by Locust's states during and after a test.
_PHASES = {
    "spawning": "booting",
    "running": "running",
    "cleanup": "stopping",
    "stopping": "stopping",
    "stopped": "ended",
}
#: States of a master that has not run a test yet.
_NO_TEST = frozenset({"ready", "missing"})


class RunMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of a test and its workers over restarts; times are Unix timestamps.

    Attributes:
        version: The version of this format.
        started, ended: When a poll first saw the test in flight, and over.
        watched: Whether polls preceded the start, so that `started` is the real start time.
        requests: The number of requests at the last poll.
        ids, ignored: The fields of `Names` in the module `workers`.
    """

    version: Literal[1] = 1
    started: float | None = None
    ended: float | None = None
    watched: bool = False
    requests: float = 0.0
    ids: dict[str, str] = {}
    ignored: tuple[str, ...] = ()


class CurrentRun:
    """The test of a master, followed from poll to poll.

    A test in flight is new if the last poll saw none in flight. It is also new if users are being
    started and the request count is lower than at the last poll. A lower count alone does not show
    a new test, because a user can reset the counts of a running test.
    """

    def __init__(self, *, linger_seconds: float, surprise: Surprised) -> None:
        self._linger_seconds = linger_seconds
        self._surprise = surprise
        self._polled = False
        self.memory = RunMemory()

    def recall(self, memory: RunMemory, now: Moment) -> None:
        """Restore a memory from before a restart; a time in the future becomes now."""
        self.memory = msgspec.structs.replace(
            memory, started=_sane(memory.started, now), ended=_sane(memory.ended, now)
        )
        self._polled = True

    def update(self, stats: Stats, name: str, now: Moment) -> tuple[Reading, ...]:
        """Return the readings of the test, if there is one to show, after processing a reply."""
        row = aggregate(stats)
        requests = count(row, "num_requests") or 0.0
        before = self.memory
        if stats.state in _NO_TEST:
            before = RunMemory()
        elif stats.state not in _PHASES:
            # An unknown state neither starts nor ends a test.
            self._surprise("enum" if stats.state else "missing_field")
        elif stats.state == "stopped":
            if before.started is not None and before.ended is None:
                before = msgspec.structs.replace(before, ended=now.unix)
        elif (
            before.started is None
            or before.ended is not None
            or (stats.state == "spawning" and requests < before.requests)
        ):
            before = RunMemory(started=now.unix, watched=self._polled)
        self.memory = msgspec.structs.replace(before, requests=requests)
        self._polled = True
        phase = _PHASES.get(stats.state, "unknown") if before.ended is None else "ended"
        return self._shown(stats, row, phase, name, now)

    def _shown(
        self, stats: Stats, row: Mapping[str, Any], phase: str, name: str, now: Moment
    ) -> tuple[Reading, ...]:
        started, ended = self.memory.started, self.memory.ended
        if started is None or (ended is not None and now.unix - ended > self._linger_seconds):
            return ()
        run_id = datetime.fromtimestamp(int(started), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        # Locust keeps the last rates of a finished test, which are not current any more.
        rates = row if ended is None else {}
        mean = count(row, "avg_response_time") if count(row, "num_requests") else None
        run = Run(
            run_id=run_id,
            run=name,
            phase=phase,
            outcome=Outcome.NO_VERDICT if ended is not None else None,
            start_timestamp_seconds=started if self.memory.watched else None,
            end_timestamp_seconds=ended,
        )
        load = RunLoad(
            run_id=run_id,
            run=name,
            users=measured(stats.user_count),
            requests=count(row, "num_requests"),
            failures=count(row, "num_failures"),
            requests_per_second=count(rates, "current_rps"),
            failures_per_second=count(rates, "current_fail_per_sec"),
            response_mean_seconds=None if mean is None else mean / 1000,
            response_seconds=percentiles(row),
        )
        return run, load


def _sane(unix: float | None, now: Moment) -> float | None:
    """Return a remembered Unix timestamp, at most now, or `None` if it is invalid."""
    return min(unix, now.unix) if unix is not None and unix > 0 else None
