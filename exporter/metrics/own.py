"""Every metric of the exporter's own, once: type, name, help, labels, buckets.

They tell of what the exporter did, and of what it found in preflights; what it saw are the vendor
families of `catalogue`. `telemetry` makes the metrics of prometheus-client from this table; alerts,
dashboards and documents read it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from exporter.metrics.catalogue import COMMON_LABELS, PREFIX, NamedFamily


M = TypeVar("M", Counter, Gauge, Histogram)


class OwnFamily(NamedFamily, Generic[M], frozen=True, kw_only=True):
    """A metric family of the exporter's own.

    Attributes:
        metric: Its class in prometheus-client.
        buckets: Upper bounds of a histogram's buckets, without infinity.
        from_start: Whether it is exposed before somebody asks for it, where it has no labels.
    """

    metric: type[M]
    buckets: tuple[float, ...] = ()
    from_start: bool = True

    @property
    def kind(self) -> str:
        """Return the type as the text formats write it."""
        return self.metric.__name__.lower()

    @property
    def series(self) -> str:
        """Return the name that queries use, which for a histogram is that of its buckets."""
        return f"{self.name}_bucket" if self.buckets else self.name

    def register(self, registry: CollectorRegistry | None) -> M:
        """Make the metric, in a registry or in none yet."""
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

#: Labels of what is counted per task of a source.
TASK_LABELS = (*COMMON_LABELS, "task")

_SOURCE = COMMON_LABELS
_TASK = TASK_LABELS
_OPERATION = (*_SOURCE, "operation")

# Calls take from milliseconds to the time-out, polls from one call to a whole interval.
_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_POLL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_LATENESS_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
_RENDER_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1)

BUILD_INFO = _gauge("build_info", "What is running.", "version", "revision", "python")
SHARD_ORDINAL = _gauge("shard_ordinal", "Which share of the targets is this one's.")
SHARDS = _gauge("shards", "Into how many shares the targets are divided.")
RELOAD_SUCCESSFUL = _gauge(
    "config_last_reload_successful", "Whether the newest load of the configuration worked."
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
    "poll_failures_total", "Polls in which something failed, once per reason.", *_TASK, "reason"
)
POLL_LAST_SUCCESS = _gauge(
    "poll_last_success_timestamp_seconds", "When the newest good poll ended.", *_TASK
)
POLL_LAST_ATTEMPT = _gauge(
    "poll_last_attempt_timestamp_seconds", "When the newest poll ended.", *_TASK
)
POLL_INTERVAL = _gauge(
    "poll_interval_seconds", "Time from the start of a poll to the next.", *_TASK
)
SCHEDULE_LATENESS = _histogram(
    "schedule_lateness_seconds",
    "How long after their time polls started.",
    *_TASK,
    buckets=_LATENESS_BUCKETS,
)
SCHEDULE_SKIPPED = _counter(
    "schedule_skipped_total", "Polls that did not take place.", *_TASK, "reason"
)
HTTP_REQUESTS = _counter("http_requests_total", "Calls to vendors.", *_OPERATION, "outcome")
HTTP_REQUEST_DURATION = _histogram(
    "http_request_duration_seconds", "Duration of calls.", *_OPERATION, buckets=_CALL_BUCKETS
)
HTTP_REQUESTS_IN_FLIGHT = _gauge("http_requests_in_flight", "Calls under way.", *_SOURCE)
BREAKER_OPEN = _gauge("breaker_open", "Whether calls to the source are held back.", *_SOURCE)
LOCKOUT_REFUSALS = _gauge(
    "lockout_refusals",
    "Calls of the last minute that the vendor may have refused, in sum over all processes that"
    " share the ledger.",
    *_SOURCE,
)
VENDOR_SLOW = _gauge(
    "vendor_slow",
    "Whether time-outs are the vendor's, so that no target is judged by them.",
    *_SOURCE,
)
TARGETS_EXPECTED = _gauge(
    "targets_expected",
    "Whether there should be targets of a kind: agents, unless the source has no locations either;"
    " kinds that include names, or of which a list of the last day had some. 0 where other shards"
    " watch the targets.",
    *_TASK,
    "kind",
)
VENDOR_CERTIFICATE_END = _gauge(
    "vendor_certificate_not_after_timestamp_seconds",
    "When the TLS certificate ends that the vendor's server presents; of several servers the"
    " earliest. Absent where the calls go over plain HTTP.",
    *_SOURCE,
)
LEADER = _gauge("leader", "Whether this process polls the source; 0 where it stands by.", *_SOURCE)
LEADER_CHANGES = _counter(
    "leader_changes_total", "Changes of the source's leader that this process has seen.", *_SOURCE
)
SERIES = _gauge("series", "Vendor series exposed.", *_SOURCE)
SERIES_EXPIRED = _counter(
    "series_expired_total", "Vendor series that ended for want of a newer reading.", *_SOURCE
)
VENDOR_SURPRISES = _counter(
    "vendor_surprises_total",
    "Values in replies that the API references do not know.",
    *_SOURCE,
    "kind",
)
ALERTS_FIRING = _gauge(
    "alerts_firing", "Alerts the built-in evaluation fires.", "alertname", "severity"
)
NOTIFICATIONS = _counter("notifications_total", "Calls that told a receiver of alerts.", "receiver")
NOTIFICATION_FAILURES = _counter(
    "notification_failures_total",
    "Calls to a receiver that failed, or of which it refused a part.",
    "receiver",
)
NOTIFICATIONS_FAILING = _gauge(
    "notifications_failing", "Whether the newest notification could not be sent.", "receiver"
)
RENDER_DURATION = _histogram(
    "render_duration_seconds", "Duration of rendering what changed.", buckets=_RENDER_BUCKETS
)
EXPOSITION_BYTES = _gauge(
    "exposition_bytes", "Size of the vendor families' exposition, uncompressed."
)
STATE_UP = _gauge(
    "state_up", "Whether the store of the state can be used; 0: all is in memory.", "backend"
)
STATE_OPERATIONS = _counter(
    "state_operations_total", "Reads and writes of the state that worked.", "backend"
)
STATE_OPERATION_FAILURES = _counter(
    "state_operation_failures_total", "Reads and writes of the state that failed.", "backend"
)
STATE_SIZE = _gauge("state_size_bytes", "Size of the store of the state.", "backend")
WEB_CONFIG_SUCCESSFUL = _gauge(
    "web_config_last_reload_successful",
    "Whether the newest reading of the web configuration file, and of the certificate and key that"
    " it names, worked; 0: they were refused, since something is wrong or users, TLS or clients'"
    " certificates vanished, and the old ones hold. 1 without such a file.",
)
WEB_CERTIFICATE_END = _gauge(
    "web_certificate_not_after_timestamp_seconds",
    "When the TLS certificate of the exporter's own web server ends. Absent without TLS.",
    from_start=False,
)

PREFLIGHT_READY = _preflight(
    "ready",
    "Whether the fleet is fit for the test. Absent while that is not known.",
    PREFLIGHT,
)
PREFLIGHT_DUE = _preflight(
    "due", "Whether the preflight is within its window; 0 also without one.", PREFLIGHT
)
PREFLIGHT_WINDOW_START = _preflight(
    "window_start_timestamp_seconds",
    "When the present window begins, or the next one. Absent without a window.",
    PREFLIGHT,
)
PREFLIGHT_WINDOW_END = _preflight(
    "window_end_timestamp_seconds",
    "When the present window ends, or the next one: the test begins. Absent without a window.",
    PREFLIGHT,
)
PREFLIGHT_AGENTS = _preflight(
    "agents",
    "Agents that the test needs, by whether they are fit; one of which nothing is known is not.",
    PREFLIGHT,
    "state",
)
PREFLIGHT_USERS = _preflight(
    "users",
    "Sum of the virtual users that the fit agents may carry; infinite if one has no limit.",
    PREFLIGHT,
)
PREFLIGHT_CHECK_PASSED = _preflight(
    "check_passed",
    "Whether a check of the preflight passed. Absent while that is not known.",
    PREFLIGHT,
    "check",
)

#: All of them, in the order of exposition.
OWN_FAMILIES: tuple[OwnFamily[Any], ...] = tuple(_families)
