"""Updates of the exporter's own metrics, which `own` declares.

They are ordinary prometheus-client metrics in a separate registry. `SourceMetrics` updates the
metrics of a source: it sets the `provider` and `source` labels and creates the series at the start.
"""

from __future__ import annotations

import platform
from contextlib import contextmanager
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from exporter import __version__
from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.errors import PollError, Reason
from exporter.metrics import own
from exporter.metrics.own import OWN_FAMILIES, M, OwnFamily


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Counter, Gauge

    from exporter.clock import Moment


# `_created` series would double the number of series of every counter and histogram.
disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped in the client

Skip = Literal["running", "missed", "blocked"]
Surprise = Literal["enum", "type", "missing_field", "incomplete_list"]


def revision_in(package: Path) -> str:
    """Return the commit that the image's build wrote into a package; empty if there is none."""
    file = package / "REVISION"
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""


#: The commit from which this installation was built.
REVISION = revision_in(Path(__file__).parent.parent)


class SelfMetrics:
    """All own metrics of one daemon. `self_metrics[family]` is the metric of a family."""

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        revision: str = REVISION,
        families: tuple[OwnFamily[Any], ...] = OWN_FAMILIES,
    ) -> None:
        self.clock = clock
        self.families = families
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._metrics: dict[str, Any] = {
            family.name: family.register(self.registry if family.from_start else None)
            for family in families
        }
        self[own.WEB_CONFIG_SUCCESSFUL].set(1)
        self._sources: dict[tuple[str, str], SourceMetrics] = {}
        build = (__version__, revision, platform.python_version())
        self[own.BUILD_INFO].labels(*build).set(1)

    def __getitem__(self, family: OwnFamily[M]) -> M:
        return cast("M", self._metrics[family.name])

    def expose(self, family: OwnFamily[M]) -> M:
        """Return a metric that is exposed only from now on. Call this once per family."""
        metric = self[family]
        self.registry.register(metric)
        return metric

    def reloaded(self) -> None:
        """Record that the newest load of the configuration succeeded, and its time."""
        self[own.RELOAD_SUCCESSFUL].set(1)
        self[own.RELOAD_SUCCESS_TIMESTAMP].set(self.clock.time())

    def reload_failed(self) -> None:
        """Record that the newest load of the configuration failed."""
        self[own.RELOAD_SUCCESSFUL].set(0)

    def shows(self, family: OwnFamily[Gauge], values: Mapping[tuple[str, ...], float]) -> None:
        """Set the series of a family, by the values of its labels, and remove all others."""
        gauge = self[family]
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        # The family is not cleared first, since a concurrent scrape would miss the series.
        for metric in gauge.collect():
            for sample in metric.samples:
                labels = tuple(sample.labels[name] for name in family.labels)
                if labels not in values:
                    gauge.remove(*labels)

    def fires(self, alerts: Mapping[tuple[str, ...], int]) -> None:
        """Set the number of firing alerts by name and severity, and remove all others."""
        self.shows(own.ALERTS_FIRING, alerts)

    def source(self, provider: str, name: str) -> SourceMetrics:
        """Return the metrics of a source, created at the first call."""
        key = (provider, name)
        if key not in self._sources:
            self._sources[key] = SourceMetrics(self, provider, name)
        return self._sources[key]

    def forget(self, provider: str, name: str) -> None:
        """Remove all series of a source that is no longer configured."""
        gone = self._sources.pop((provider, name), None)
        if gone is not None:
            # Break the reference cycle of function, source and metrics, which would keep them
            # until the next garbage collection.
            gone.refusals.set_function(lambda: 0.0)
        self.remove(provider=provider, source=name)

    def remove(self, **labels: str) -> None:
        """Remove all series with these labels, whatever other labels they have."""
        for family in self.families:
            if labels.keys() <= set(family.labels):
                self[family].remove_by_labels(labels)


class SourceMetrics:
    """Updates the series of one source.

    Attributes:
        breaker: Whether calls are blocked.
        refusals: Number of calls of the last minute that may have been refused.
        vendor_slow: Whether the vendor is slow.
        series: Number of vendor series.
        expired: Counter of vendor series that ended because no newer reading came.
        certificate_end: When the certificate of the vendor's server expires, Unix seconds; `None`
            if none was seen.
    """

    def __init__(self, telemetry: SelfMetrics, provider: str, name: str) -> None:
        self.provider = provider
        self.name = name
        self._metrics = telemetry
        self.certificate_end: float | None = None
        self._clock = telemetry.clock
        self._labels = (provider, name)
        self._in_flight = telemetry[own.HTTP_REQUESTS_IN_FLIGHT].labels(*self._labels)
        self.breaker = telemetry[own.BREAKER_OPEN].labels(*self._labels)
        self.refusals = telemetry[own.LOCKOUT_REFUSALS].labels(*self._labels)
        self.vendor_slow = telemetry[own.VENDOR_SLOW].labels(*self._labels)
        self.series = telemetry[own.SERIES].labels(*self._labels)
        self.expired = telemetry[own.SERIES_EXPIRED].labels(*self._labels)
        self._surprises: dict[Surprise, Counter] = {
            kind: telemetry[own.VENDOR_SURPRISES].labels(*self._labels, kind)
            for kind in get_args(Surprise)
        }
        # Cached, since finding a series by its labels costs as much as updating it.
        self._requests = cache(partial(telemetry[own.HTTP_REQUESTS].labels, *self._labels))
        self._durations = cache(partial(telemetry[own.HTTP_REQUEST_DURATION].labels, *self._labels))

    @cached_property
    def leads(self) -> Gauge:
        """Gauge for whether this process polls the source; created only with leader election."""
        return self._metrics[own.LEADER].labels(*self._labels)

    @cached_property
    def leader_changes(self) -> Counter:
        """Counter of changes of the source's leader; created only with leader election."""
        return self._metrics[own.LEADER_CHANGES].labels(*self._labels)

    def declare_task(self, task: str, interval_seconds: float) -> None:
        """Create the series of a task, with value 0, before its first poll."""
        labels = (*self._labels, task)
        for family in self._metrics.families:
            if family.labels == own.TASK_LABELS:
                self._metrics[family].labels(*labels)
        self._metrics[own.POLL_INTERVAL].labels(*labels).set(interval_seconds)
        for skip in get_args(Skip):
            self._metrics[own.SCHEDULE_SKIPPED].labels(*labels, skip)
        for reason in Reason:
            self._metrics[own.POLL_FAILURES].labels(*labels, reason.value)

    def forget_task(self, task: str) -> None:
        """Remove the series of a task that is no longer polled."""
        self._metrics.remove(provider=self.provider, source=self.name, task=task)

    @contextmanager
    def request(self, operation: str) -> Iterator[None]:
        """Count a call and its duration, also if it fails. A cancelled call is not counted."""
        started = self._clock.monotonic()
        # Created at 0, so that `increase()` sees the first rate-limited call.
        self._requests(operation, Reason.RATE_LIMITED.value)
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
        self._requests(operation, outcome).inc()
        self._durations(operation).observe(self._clock.monotonic() - started)

    def polled(self, task: str, *, seconds: float, at: Moment, failures: Iterable[Reason]) -> None:
        """Count a poll and record its end. Without a failure it is successful."""
        labels = (*self._labels, task)
        reasons = set(failures)
        self._metrics[own.POLLS].labels(*labels).inc()
        self._metrics[own.POLL_DURATION].labels(*labels).observe(seconds)
        self._metrics[own.POLL_LAST_ATTEMPT].labels(*labels).set(at.unix)
        for reason in reasons:
            self._metrics[own.POLL_FAILURES].labels(*labels, reason.value).inc()
        if not reasons:
            self._metrics[own.POLL_LAST_SUCCESS].labels(*labels).set(at.unix)

    def restored(self, task: str, *, attempt: Moment | None, success: Moment | None) -> None:
        """Record when a task was polled before a restart."""
        labels = (*self._labels, task)
        for family, at in (
            (own.POLL_LAST_ATTEMPT, attempt),
            (own.POLL_LAST_SUCCESS, success),
        ):
            if at is not None:
                self._metrics[family].labels(*labels).set(at.unix)

    def expect(self, task: str, kind: str, *, expected: bool) -> None:
        """Record whether the task should list targets of a kind."""
        self._metrics[own.TARGETS_EXPECTED].labels(*self._labels, task, kind).set(expected)

    def certificate_ends(self, unix: float) -> None:
        """Record when the certificate of the vendor's server expires, Unix seconds."""
        self.certificate_end = unix
        self._metrics[own.VENDOR_CERTIFICATE_END].labels(*self._labels).set(unix)

    def late(self, task: str, seconds: float) -> None:
        """Observe the delay of a poll's start after its scheduled time."""
        self._metrics[own.SCHEDULE_LATENESS].labels(*self._labels, task).observe(seconds)

    def skipped(self, task: str, reason: Skip, *, count: int = 1) -> None:
        """Count skipped polls."""
        self._metrics[own.SCHEDULE_SKIPPED].labels(*self._labels, task, reason).inc(count)

    def surprise(self, kind: Surprise) -> None:
        """Count a value that the vendor's reference does not document."""
        self._surprises[kind].inc()
