"""All metric families of the exporter itself: type, name, help, labels and buckets.

They describe the exporter's own work and the results of preflights; the families about vendors are
in `catalogue`. `telemetry` creates the metrics from this table with prometheus-client. Alerts,
dashboards and documents read the table.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from exporter.metrics.catalogue import COMMON_LABELS, PREFIX, NamedFamily


M = TypeVar("M", Counter, Gauge, Histogram)


class OwnFamily(NamedFamily, Generic[M], frozen=True, kw_only=True):
    """A metric family of the exporter itself.

    Attributes:
        metric: The class in prometheus-client.
        buckets: Upper bounds of a histogram's buckets, without infinity.
        from_start: Whether the family is exposed from the start, not only after
            `SelfMetrics.expose`.
    """

    metric: type[M]
    buckets: tuple[float, ...] = ()
    from_start: bool = True

    @property
    def kind(self) -> str:
        """The metric type as in the text formats."""
        return self.metric.__name__.lower()

    @property
    def series(self) -> str:
        """The name for queries; for a histogram that of its buckets."""
        return f"{self.name}_bucket" if self.buckets else self.name

    def register(self, registry: CollectorRegistry | None) -> M:
        """Return a new metric, registered unless `registry` is `None`."""
        options: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return self.metric(self.name, self.help, self.labels, registry=registry, **options)


_families: list[OwnFamily[Any]] = []


def _declare(
    metric: type[M], name: str, text: str, *labels: str, about: str = "exporter", **options: Any
) -> OwnFamily[M]:
    name = f"{PREFIX}{about}_{name}"
    family = OwnFamily(metric=metric, name=name, help=text, labels=labels, **options)
    _families.append(family)
    return family


_gauge = partial(_declare, Gauge)
_counter = partial(_declare, Counter)
_histogram = partial(_declare, Histogram)
_preflight = partial(_gauge, about="preflight")

#: The label that names a preflight.
PREFLIGHT = "preflight"

#: Labels of metrics per task of a source.
TASK_LABELS = (*COMMON_LABELS, "task")

_SOURCE = COMMON_LABELS
_TASK = TASK_LABELS
_OPERATION = (*_SOURCE, "operation")

# All in seconds. Calls take milliseconds up to the time-out, polls one call up to a whole interval.
_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_POLL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_LATENESS_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
_RENDER_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1)

BUILD_INFO = _gauge(
    "build_info", "Versions of the exporter and of Python.", "version", "revision", "python"
)
SHARD_ORDINAL = _gauge("shard_ordinal", "Index of this exporter's shard, from 0.")
SHARDS = _gauge("shards", "Number of shards that divide the targets between them.")
RELOAD_SUCCESSFUL = _gauge(
    "config_last_reload_successful", "Whether the newest load of the configuration succeeded."
)
RELOAD_SUCCESS_TIMESTAMP = _gauge(
    "config_last_reload_success_timestamp_seconds",
    "When the configuration was last loaded successfully.",
)
POLL_DURATION = _histogram(
    "poll_duration_seconds", "Duration of polls.", *_TASK, buckets=_POLL_BUCKETS
)
POLLS = _counter("polls_total", "Polls that ended.", *_TASK)
POLL_FAILURES = _counter(
    "poll_failures_total",
    "Polls with a failure; a poll with several reasons counts once for each.",
    *_TASK,
    "reason",
)
POLL_LAST_SUCCESS = _gauge(
    "poll_last_success_timestamp_seconds", "When the newest successful poll ended.", *_TASK
)
POLL_LAST_ATTEMPT = _gauge(
    "poll_last_attempt_timestamp_seconds", "When the newest poll ended.", *_TASK
)
POLL_INTERVAL = _gauge(
    "poll_interval_seconds", "Time from the start of a poll to the start of the next.", *_TASK
)
SCHEDULE_LATENESS = _histogram(
    "schedule_lateness_seconds",
    "Delay of the start of polls after their scheduled time.",
    *_TASK,
    buckets=_LATENESS_BUCKETS,
)
SCHEDULE_SKIPPED = _counter(
    "schedule_skipped_total", "Scheduled polls that did not take place.", *_TASK, "reason"
)
HTTP_REQUESTS = _counter("http_requests_total", "Calls to vendors.", *_OPERATION, "outcome")
HTTP_REQUEST_DURATION = _histogram(
    "http_request_duration_seconds", "Duration of calls.", *_OPERATION, buckets=_CALL_BUCKETS
)
HTTP_REQUESTS_IN_FLIGHT = _gauge("http_requests_in_flight", "Calls in flight.", *_SOURCE)
BREAKER_OPEN = _gauge("breaker_open", "Whether calls to the source are blocked.", *_SOURCE)
LOCKOUT_REFUSALS = _gauge(
    "lockout_refusals",
    "Calls of the last minute that the vendor may have refused, summed over all processes that"
    " share the ledger.",
    *_SOURCE,
)
VENDOR_SLOW = _gauge(
    "vendor_slow",
    "Whether the vendor is slow, so that time-outs do not count against targets.",
    *_SOURCE,
)
TARGETS_EXPECTED = _gauge(
    "targets_expected",
    "Whether the task should list targets of a kind: agents, except while a source's list of"
    " locations is empty; kinds with an include filter; kinds that were listed within the last day."
    " 0 if other shards poll the targets.",
    *_TASK,
    "kind",
)
VENDOR_CERTIFICATE_END = _gauge(
    "vendor_certificate_not_after_timestamp_seconds",
    "When the TLS certificate of the vendor's server expires; the earliest time for several"
    " servers. Absent for plain HTTP.",
    *_SOURCE,
)
LEADER = _gauge("leader", "Whether this process polls the source; 0 for a standby.", *_SOURCE)
LEADER_CHANGES = _counter(
    "leader_changes_total", "Changes of the source's leader that this process has seen.", *_SOURCE
)
SERIES = _gauge("series", "Exposed vendor series.", *_SOURCE)
SERIES_EXPIRED = _counter(
    "series_expired_total", "Vendor series that ended because no newer reading came.", *_SOURCE
)
VENDOR_SURPRISES = _counter(
    "vendor_surprises_total",
    "Values in replies that the vendor's API reference does not document.",
    *_SOURCE,
    "kind",
)
ALERTS_FIRING = _gauge(
    "alerts_firing", "Firing alerts of the built-in evaluation.", "alertname", "severity"
)
NOTIFICATIONS = _counter(
    "notifications_total", "Calls that sent notifications to a receiver.", "receiver"
)
NOTIFICATION_FAILURES = _counter(
    "notification_failures_total",
    "Calls to a receiver that failed or were partly refused.",
    "receiver",
)
NOTIFICATIONS_FAILING = _gauge(
    "notifications_failing", "Whether the newest notification could not be sent.", "receiver"
)
RENDER_DURATION = _histogram(
    "render_duration_seconds",
    "Duration of rendering changed vendor families.",
    buckets=_RENDER_BUCKETS,
)
EXPOSITION_BYTES = _gauge(
    "exposition_bytes", "Size of the vendor families' exposition, uncompressed."
)
STATE_UP = _gauge(
    "state_up", "Whether the state store is usable; 0 if the state is only in memory.", "backend"
)
STATE_OPERATIONS = _counter(
    "state_operations_total", "Successful reads and writes of the state.", "backend"
)
STATE_OPERATION_FAILURES = _counter(
    "state_operation_failures_total", "Failed reads and writes of the state.", "backend"
)
STATE_SIZE = _gauge("state_size_bytes", "Size of the state store.", "backend")
WEB_CONFIG_SUCCESSFUL = _gauge(
    "web_config_last_reload_successful",
    "Whether the newest load of the web configuration file, with its certificate and key,"
    " succeeded; 0 if it was refused because of a mistake, or because users, TLS or clients'"
    " certificates disappeared, and the old settings stay in force. 1 without such a file.",
)
WEB_CERTIFICATE_END = _gauge(
    "web_certificate_not_after_timestamp_seconds",
    "When the TLS certificate of the exporter's web server expires. Absent without TLS.",
    from_start=False,
)

PREFLIGHT_READY = _preflight(
    "ready",
    "Whether the fleet is fit for the test. Absent while unknown.",
    PREFLIGHT,
)
PREFLIGHT_DUE = _preflight(
    "due", "Whether the preflight is within its window; 0 without a window.", PREFLIGHT
)
PREFLIGHT_WINDOW_START = _preflight(
    "window_start_timestamp_seconds",
    "Start of the current window, or of the next. Absent without a window.",
    PREFLIGHT,
)
PREFLIGHT_WINDOW_END = _preflight(
    "window_end_timestamp_seconds",
    "End of the current window, or of the next, when the test begins. Absent without a window.",
    PREFLIGHT,
)
PREFLIGHT_AGENTS = _preflight(
    "agents",
    "Agents that the test needs, by fitness; an agent of unknown fitness counts as unfit.",
    PREFLIGHT,
    "state",
)
PREFLIGHT_USERS = _preflight(
    "users",
    "Sum of the virtual users that the fit agents may carry; +Inf if an agent has no limit.",
    PREFLIGHT,
)
PREFLIGHT_CHECK_PASSED = _preflight(
    "check_passed",
    "Whether a check of the preflight passed. Absent while unknown.",
    PREFLIGHT,
    "check",
)

#: All families, in the order of exposition.
OWN_FAMILIES: tuple[OwnFamily[Any], ...] = tuple(_families)
