"""The metrics that are no vendor families, as queries name them: full names and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.metrics import own


if TYPE_CHECKING:
    from exporter.metrics.own import OwnFamily


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that is no vendor family.

    Attributes:
        name: As it stands in a query.
        labels: Its labels, those of the scrape left out.
    """

    name: str
    labels: tuple[str, ...] = ()


def _own(family: OwnFamily[Any]) -> Metric:
    return Metric(name=family.series, labels=family.labels)


BUILD_INFO = _own(own.BUILD_INFO)
RELOAD_SUCCESSFUL = _own(own.RELOAD_SUCCESSFUL)
RELOAD_SUCCESS_TIMESTAMP = _own(own.RELOAD_SUCCESS_TIMESTAMP)
POLL_DURATION = _own(own.POLL_DURATION)
POLL_FAILURES = _own(own.POLL_FAILURES)
POLL_LAST_SUCCESS = _own(own.POLL_LAST_SUCCESS)
POLL_INTERVAL = _own(own.POLL_INTERVAL)
SCHEDULE_LATENESS = _own(own.SCHEDULE_LATENESS)
SCHEDULE_SKIPPED = _own(own.SCHEDULE_SKIPPED)
HTTP_REQUESTS = _own(own.HTTP_REQUESTS)
HTTP_REQUEST_DURATION = _own(own.HTTP_REQUEST_DURATION)
HTTP_REQUESTS_IN_FLIGHT = _own(own.HTTP_REQUESTS_IN_FLIGHT)
BREAKER_OPEN = _own(own.BREAKER_OPEN)
SERIES = _own(own.SERIES)
SERIES_EXPIRED = _own(own.SERIES_EXPIRED)
VENDOR_SURPRISES = _own(own.VENDOR_SURPRISES)
ALERTS_FIRING = _own(own.ALERTS_FIRING)
NOTIFICATIONS = _own(own.NOTIFICATIONS)
NOTIFICATION_FAILURES = _own(own.NOTIFICATION_FAILURES)
NOTIFICATIONS_FAILING = _own(own.NOTIFICATIONS_FAILING)
RENDER_DURATION = _own(own.RENDER_DURATION)
EXPOSITION_BYTES = _own(own.EXPOSITION_BYTES)

# What prometheus-client says of the process.
CPU_SECONDS = Metric(name="process_cpu_seconds_total")
RESIDENT_MEMORY = Metric(name="process_resident_memory_bytes")

# What Prometheus says itself.
UP = Metric(name="up")
ALERTS = Metric(name="ALERTS", labels=("alertname", "alertstate", "severity"))
