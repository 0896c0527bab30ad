"""All of the exporter's own metrics, and the writing of those that belong to no one thing."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

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
from exporter.metrics.telemetry.receiver import ReceiverMetrics
from exporter.metrics.telemetry.source import SourceMetrics


if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.metrics import MetricWrapperBase

    from exporter.sharding import Shard


# Creation times would double the series of every counter and histogram.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the client leaves it untyped

PREFIX = "loadfleet_exporter"

_SOURCE = ("provider", "source")
_TASK = (*_SOURCE, "task")
_OPERATION = (*_SOURCE, "operation")

# Calls take from milliseconds to the time-out, cycles from one call to a whole interval.
_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_POLL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_LATENESS_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
_RENDER_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1)


class SelfMetrics:
    """All own metrics of one daemon.

    Attributes:
        version: Another one after every writing, all of which go through methods of this package.
            The figures of the process, the platform and the garbage collection change without.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, revision: str = "") -> None:
        self.clock = clock
        self.version = 0
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
        self._sources: dict[tuple[str, str], SourceMetrics] = {}

    def touch(self) -> None:
        """Tell that something is about to be another value than it was."""
        self.version += 1

    def sharded(self, shard: Shard) -> None:
        """Show which share of the targets is watched here."""
        self.touch()
        self.shard.set(shard.index)
        self.total_shards.set(shard.total)

    def reloaded(self) -> None:
        """Show that the newest load of the configuration worked, and when."""
        self.touch()
        self.reload_successful.set(1)
        self.reload_success_timestamp.set(self.clock.time())

    def reload_failed(self) -> None:
        """Show that the newest load of the configuration did not work."""
        self.touch()
        self.reload_successful.set(0)

    def rendered(self, seconds: float) -> None:
        """Observe how long the rendering of what changed took."""
        self.touch()
        self.render_duration.observe(seconds)

    def exposes(self, size: int) -> None:
        """Show how many bytes the vendor families take."""
        self.touch()
        self.exposition_bytes.set(size)

    def fires(self, alerts: Mapping[tuple[str, str], int]) -> None:
        """Show how many alerts fire, by their names and severities; others show no longer."""
        self.touch()
        self.alerts_firing.clear()
        for labels, count in alerts.items():
            self.alerts_firing.labels(*labels).set(count)

    def source(self, provider: str, name: str) -> SourceMetrics:
        """Return the part of a source, made at the first call."""
        key = (provider, name)
        if key not in self._sources:
            self.touch()
            self._sources[key] = SourceMetrics(self, provider, name)
        return self._sources[key]

    def forget(self, provider: str, name: str) -> None:
        """Remove all series of a source that is no longer configured."""
        self.touch()
        self._sources.pop((provider, name), None)
        for metric in self._per_source():
            # A metric with more labels than these two forgets by partial match.
            metric.remove_by_labels({"provider": provider, "source": name})

    def receiver(self, name: str) -> ReceiverMetrics:
        """Return the part of a receiver of alerts; its series exist from now on."""
        self.touch()
        return ReceiverMetrics(self, name)

    def forget_receiver(self, name: str) -> None:
        """Remove all series of a receiver that is no longer configured."""
        self.touch()
        for metric in (self.notifications, self.notification_failures, self.notifications_failing):
            metric.remove_by_labels({"receiver": name})

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
