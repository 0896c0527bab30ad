"""What is counted for one source."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from exporter.errors import PollError, Reason


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Counter, Histogram

    from exporter.metrics.telemetry.registry import SelfMetrics


Skip = Literal["running", "missed", "blocked"]
Surprise = Literal["enum", "type", "missing_field"]

SKIPS: tuple[Skip, ...] = ("running", "missed", "blocked")
SURPRISES: tuple[Surprise, ...] = ("enum", "type", "missing_field")


class SourceMetrics:
    """Writes the series of one source."""

    def __init__(self, telemetry: SelfMetrics, provider: str, name: str) -> None:
        self.provider = provider
        self.name = name
        self._of = telemetry
        self._clock = telemetry.clock
        self._labels = (provider, name)
        self._in_flight = telemetry.http_requests_in_flight.labels(*self._labels)
        self._breaker = telemetry.breaker_open.labels(*self._labels)
        self._series = telemetry.series.labels(*self._labels)
        self._expired = telemetry.series_expired.labels(*self._labels)
        self._surprises = {
            kind: telemetry.vendor_surprises.labels(*self._labels, kind) for kind in SURPRISES
        }
        self._requests: dict[tuple[str, str], Counter] = {}
        self._durations: dict[str, Histogram] = {}

    def declare_task(self, task: str, interval_seconds: float) -> None:
        """Make the series of a task exist, at 0, before its first poll."""
        self._of.touch()
        labels = (*self._labels, task)
        self._of.polls.labels(*labels)
        self._of.poll_last_success.labels(*labels)
        self._of.poll_last_attempt.labels(*labels)
        self._of.poll_interval.labels(*labels).set(interval_seconds)
        self._of.poll_duration.labels(*labels)
        self._of.schedule_lateness.labels(*labels)
        for skip in SKIPS:
            self._of.schedule_skipped.labels(*labels, skip)
        for reason in Reason:
            self._of.poll_failures.labels(*labels, reason.value)

    def forget_task(self, task: str) -> None:
        """Remove the series of a task that is no longer polled."""
        self._of.touch()
        labels = {"provider": self.provider, "source": self.name, "task": task}
        for metric in self._of.per_task():
            metric.remove_by_labels(labels)

    @contextmanager
    def request(self, operation: str) -> Iterator[None]:
        """Count one call and its duration, also when it fails; a cancelled one has no outcome."""
        started = self._clock.monotonic()
        self._of.touch()
        self._in_flight.inc()
        try:
            yield
        except PollError as error:
            self._requested(operation, error.reason.value, started)
            raise
        else:
            self._requested(operation, "ok", started)
        finally:
            self._of.touch()
            self._in_flight.dec()

    def _requested(self, operation: str, outcome: str, started: float) -> None:
        seconds = self._clock.monotonic() - started
        labels = (*self._labels, operation)
        # To find a series by its labels costs as much as to write it.
        if operation not in self._durations:
            self._durations[operation] = self._of.http_request_duration.labels(*labels)
        if (operation, outcome) not in self._requests:
            self._requests[operation, outcome] = self._of.http_requests.labels(*labels, outcome)
        self._of.touch()
        self._requests[operation, outcome].inc()
        self._durations[operation].observe(seconds)

    def polled(self, task: str, *, seconds: float, failures: Iterable[Reason]) -> None:
        """Count one poll that ended; without a failure it was a success."""
        self._of.touch()
        labels = (*self._labels, task)
        now = self._clock.time()
        reasons = set(failures)
        self._of.polls.labels(*labels).inc()
        self._of.poll_duration.labels(*labels).observe(seconds)
        self._of.poll_last_attempt.labels(*labels).set(now)
        for reason in reasons:
            self._of.poll_failures.labels(*labels, reason.value).inc()
        if not reasons:
            self._of.poll_last_success.labels(*labels).set(now)

    def late(self, task: str, seconds: float) -> None:
        """Observe how long after its time a poll started."""
        self._of.touch()
        self._of.schedule_lateness.labels(*self._labels, task).observe(seconds)

    def skipped(self, task: str, reason: Skip, *, count: int = 1) -> None:
        """Count a poll that did not take place, or several."""
        self._of.touch()
        self._of.schedule_skipped.labels(*self._labels, task, reason).inc(count)

    def surprise(self, kind: Surprise) -> None:
        """Count a value that the vendor's reference does not know."""
        self._of.touch()
        self._surprises[kind].inc()

    def breaker(self, *, is_open: bool) -> None:
        """Show whether calls are held back."""
        self._of.touch()
        self._breaker.set(is_open)

    def exposed(self, series: int) -> None:
        """Show how many vendor series there are."""
        self._of.touch()
        self._series.set(series)

    def expired(self, series: int) -> None:
        """Count vendor series that ended for want of a newer reading."""
        self._of.touch()
        self._expired.inc(series)
