"""The exporter's own metrics: what it did, never what it saw.

They are ordinary prometheus-client metrics in a registry of their own. Everything that belongs to
a source goes through its `SourceTelemetry`, which knows the `provider` and `source` labels, makes
the series exist from the start and removes them with the source.
"""

from __future__ import annotations

import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from exporter import __version__
from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.errors import PollError, Reason


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics import MetricWrapperBase

    from exporter.sharding import Shard


# Creation times would double the series of every counter and histogram.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the client leaves it untyped

PREFIX = "loadfleet_exporter"

Skip = Literal["running", "missed", "blocked"]
Surprise = Literal["enum", "type", "missing_field"]

SKIPS: tuple[Skip, ...] = ("running", "missed", "blocked")
SURPRISES: tuple[Surprise, ...] = ("enum", "type", "missing_field")

_SOURCE = ("provider", "source")
_TASK = (*_SOURCE, "task")
_OPERATION = (*_SOURCE, "operation")

# Calls take from milliseconds to the time-out, cycles from one call to a whole interval.
_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_POLL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_LATENESS_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
_RENDER_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1)


class Telemetry:
    """All own metrics of one daemon."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, revision: str = "") -> None:
        self.clock = clock
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        self.build_info = self._gauge(
            "build_info", "What is running.", "version", "revision", "python"
        )
        self.build_info.labels(__version__, revision, platform.python_version()).set(1)
        self.shard = self._gauge("shard_ordinal", "Which share of the targets is this one's.")
        self.total_shards = self._gauge("shards", "Into how many shares the targets are divided.")
        self.reload_successful = self._gauge(
            "config_last_reload_successful", "Whether the newest load of the configuration worked."
        )
        self.reload_success_timestamp = self._gauge(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded successfully.",
        )
        self.poll_duration = self._histogram(
            "poll_duration_seconds", "Duration of polls.", _POLL_BUCKETS, *_TASK
        )
        self.polls = self._counter("polls_total", "Polls that ended.", *_TASK)
        self.poll_failures = self._counter(
            "poll_failures_total",
            "Polls in which something failed, once per reason.",
            *_TASK,
            "reason",
        )
        self.poll_last_success = self._gauge(
            "poll_last_success_timestamp_seconds", "When the newest good poll ended.", *_TASK
        )
        self.poll_last_attempt = self._gauge(
            "poll_last_attempt_timestamp_seconds", "When the newest poll ended.", *_TASK
        )
        self.poll_interval = self._gauge(
            "poll_interval_seconds", "Time from the start of a poll to the next.", *_TASK
        )
        self.schedule_lateness = self._histogram(
            "schedule_lateness_seconds",
            "How long after their time polls started.",
            _LATENESS_BUCKETS,
            *_TASK,
        )
        self.schedule_skipped = self._counter(
            "schedule_skipped_total", "Polls that did not take place.", *_TASK, "reason"
        )
        self.http_requests = self._counter(
            "http_requests_total", "Calls to vendors.", *_OPERATION, "outcome"
        )
        self.http_request_duration = self._histogram(
            "http_request_duration_seconds", "Duration of calls.", _CALL_BUCKETS, *_OPERATION
        )
        self.http_requests_in_flight = self._gauge(
            "http_requests_in_flight", "Calls under way.", *_SOURCE
        )
        self.breaker_open = self._gauge(
            "breaker_open", "Whether calls to the source are held back.", *_SOURCE
        )
        self.series = self._gauge("series", "Vendor series exposed.", *_SOURCE)
        self.series_expired = self._counter(
            "series_expired_total",
            "Vendor series that ended for want of a newer reading.",
            *_SOURCE,
        )
        self.vendor_surprises = self._counter(
            "vendor_surprises_total",
            "Values in replies that the API references do not know.",
            *_SOURCE,
            "kind",
        )
        self.alerts_firing = self._gauge(
            "alerts_firing", "Alerts the built-in evaluation fires.", "alertname", "severity"
        )
        self.notifications = self._counter(
            "notifications_total", "Calls that told a receiver of alerts.", "receiver"
        )
        self.notification_failures = self._counter(
            "notification_failures_total",
            "Calls to a receiver that failed, or of which it refused a part.",
            "receiver",
        )
        self.notifications_failing = self._gauge(
            "notifications_failing",
            "Whether the newest notification could not be sent.",
            "receiver",
        )
        self.render_duration = self._histogram(
            "render_duration_seconds", "Duration of rendering what changed.", _RENDER_BUCKETS
        )
        self.exposition_bytes = self._gauge(
            "exposition_bytes", "Size of the vendor families' exposition, uncompressed."
        )
        self._sources: dict[tuple[str, str], SourceTelemetry] = {}

    def sharded(self, shard: Shard) -> None:
        """Show which share of the targets is watched here."""
        self.shard.set(shard.index)
        self.total_shards.set(shard.total)

    def source(self, provider: str, name: str) -> SourceTelemetry:
        """Return the part of a source, made at the first call."""
        key = (provider, name)
        if key not in self._sources:
            self._sources[key] = SourceTelemetry(self, provider, name)
        return self._sources[key]

    def forget(self, provider: str, name: str) -> None:
        """Remove all series of a source that is no longer configured."""
        self._sources.pop((provider, name), None)
        for metric in self._per_source():
            # A metric with more labels than these two forgets by partial match.
            metric.remove_by_labels({"provider": provider, "source": name})

    def per_task(self) -> tuple[MetricWrapperBase, ...]:
        """Return the metrics that each task of a source has series of."""
        return (
            self.poll_duration,
            self.polls,
            self.poll_failures,
            self.poll_last_success,
            self.poll_last_attempt,
            self.poll_interval,
            self.schedule_lateness,
            self.schedule_skipped,
        )

    def forget_receiver(self, receiver: str) -> None:
        """Remove all series of a receiver that is no longer configured."""
        for metric in (self.notifications, self.notification_failures, self.notifications_failing):
            metric.remove_by_labels({"receiver": receiver})

    def _per_source(self) -> tuple[MetricWrapperBase, ...]:
        return (
            *self.per_task(),
            self.http_requests,
            self.http_request_duration,
            self.http_requests_in_flight,
            self.breaker_open,
            self.series,
            self.series_expired,
            self.vendor_surprises,
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry)


class SourceTelemetry:
    """What is counted for one source."""

    def __init__(self, telemetry: Telemetry, provider: str, name: str) -> None:
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

    def declare_task(self, task: str, interval_seconds: float) -> None:
        """Make the series of a task exist, at 0, before its first poll."""
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
        labels = {"provider": self.provider, "source": self.name, "task": task}
        for metric in self._of.per_task():
            metric.remove_by_labels(labels)

    @contextmanager
    def request(self, operation: str) -> Iterator[None]:
        """Count one call and its duration, also when it fails; a cancelled one has no outcome."""
        started = self._clock.monotonic()
        self._in_flight.inc()
        try:
            yield
        except PollError as error:
            self._requested(operation, error.reason.value, started)
            raise
        else:
            self._requested(operation, "ok", started)
        finally:
            self._in_flight.dec()

    def _requested(self, operation: str, outcome: str, started: float) -> None:
        labels = (*self._labels, operation)
        self._of.http_requests.labels(*labels, outcome).inc()
        self._of.http_request_duration.labels(*labels).observe(self._clock.monotonic() - started)

    def polled(self, task: str, *, seconds: float, failures: Iterable[Reason]) -> None:
        """Count one poll that ended; without a failure it was a success."""
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
        self._of.schedule_lateness.labels(*self._labels, task).observe(seconds)

    def skipped(self, task: str, reason: Skip, *, count: int = 1) -> None:
        """Count a poll that did not take place, or several."""
        self._of.schedule_skipped.labels(*self._labels, task, reason).inc(count)

    def surprise(self, kind: Surprise) -> None:
        """Count a value that the vendor's reference does not know."""
        self._surprises[kind].inc()

    def breaker(self, *, is_open: bool) -> None:
        """Show whether calls are held back."""
        self._breaker.set(is_open)

    def exposed(self, series: int) -> None:
        """Show how many vendor series there are."""
        self._series.set(series)

    def expired(self, series: int) -> None:
        """Count vendor series that ended for want of a newer reading."""
        self._expired.inc(series)
