"""The exporter's own metrics as queries name them: full names and labels.

Names are asked of `telemetry`; which labels a metric has, its client library does not tell, so that
they stand here and a test compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.metrics.catalogue import COMMON_LABELS
from exporter.metrics.telemetry import SelfMetrics


if TYPE_CHECKING:
    from prometheus_client.metrics import MetricWrapperBase


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that is no vendor family.

    Attributes:
        name: As it stands in a query.
        labels: Its labels, those of the scrape left out.
    """

    name: str
    labels: tuple[str, ...] = ()


_TASK = (*COMMON_LABELS, "task")
_OPERATION = (*COMMON_LABELS, "operation")

# Only the names of its metrics are used.
_telemetry = SelfMetrics()


def _own(metric: MetricWrapperBase, *labels: str) -> Metric:
    (described,) = metric.describe()
    suffix = {"counter": "_total", "histogram": "_bucket"}.get(described.type, "")
    return Metric(name=described.name + suffix, labels=labels)


BUILD_INFO = _own(_telemetry.build_info, "version", "revision", "python")
RELOAD_SUCCESSFUL = _own(_telemetry.reload_successful)
RELOAD_SUCCESS_TIMESTAMP = _own(_telemetry.reload_success_timestamp)
POLL_DURATION = _own(_telemetry.poll_duration, *_TASK)
POLL_FAILURES = _own(_telemetry.poll_failures, *_TASK, "reason")
POLL_LAST_SUCCESS = _own(_telemetry.poll_last_success, *_TASK)
POLL_INTERVAL = _own(_telemetry.poll_interval, *_TASK)
SCHEDULE_LATENESS = _own(_telemetry.schedule_lateness, *_TASK)
SCHEDULE_SKIPPED = _own(_telemetry.schedule_skipped, *_TASK, "reason")
HTTP_REQUESTS = _own(_telemetry.http_requests, *_OPERATION, "outcome")
HTTP_REQUEST_DURATION = _own(_telemetry.http_request_duration, *_OPERATION)
HTTP_REQUESTS_IN_FLIGHT = _own(_telemetry.http_requests_in_flight, *COMMON_LABELS)
BREAKER_OPEN = _own(_telemetry.breaker_open, *COMMON_LABELS)
SERIES = _own(_telemetry.series, *COMMON_LABELS)
SERIES_EXPIRED = _own(_telemetry.series_expired, *COMMON_LABELS)
VENDOR_SURPRISES = _own(_telemetry.vendor_surprises, *COMMON_LABELS, "kind")
ALERTS_FIRING = _own(_telemetry.alerts_firing, "alertname", "severity")
NOTIFICATIONS = _own(_telemetry.notifications, "receiver")
NOTIFICATION_FAILURES = _own(_telemetry.notification_failures, "receiver")
NOTIFICATIONS_FAILING = _own(_telemetry.notifications_failing, "receiver")
RENDER_DURATION = _own(_telemetry.render_duration)
EXPOSITION_BYTES = _own(_telemetry.exposition_bytes)

# What prometheus-client says of the process.
CPU_SECONDS = Metric(name="process_cpu_seconds_total")
RESIDENT_MEMORY = Metric(name="process_resident_memory_bytes")

# What Prometheus says itself.
UP = Metric(name="up")
ALERTS = Metric(name="ALERTS", labels=("alertname", "alertstate", "severity"))
