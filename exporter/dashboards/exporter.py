"""The dashboard about the exporter: age of readings, calls to vendors' APIs, notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts.about import Uid
from exporter.alerts.operation import RESTARTS
from exporter.dashboards import panels as p
from exporter.dashboards import query as q
from exporter.dashboards import states as s
from exporter.dashboards.dashboard import RELOADS, Dashboard
from exporter.fleet.kinds import Kind
from exporter.metrics import catalogue as c
from exporter.metrics import own
from exporter.metrics.catalogue import COMMON_LABELS


if TYPE_CHECKING:
    from exporter.alerts.thresholds import Thresholds
    from exporter.metrics.catalogue import NamedFamily


_TASK = (*COMMON_LABELS, "task")
_OPERATION = (*COMMON_LABELS, "operation")
_EXPORTER = ("job", "instance")
_OF_SOURCE, _OF_TASK = "{{source}} ({{provider}})", "{{source}} {{task}}"

# The age of each task's newest successful poll, in intervals so that tasks can be compared.
_success = q.merged(f"({q.select(own.POLL_LAST_SUCCESS)} > 0)")
_age = f"(time() - {_success}) / {q.each(own.POLL_INTERVAL)}"

# The state of each source from the view of each exporter. Of two faults, the one that prevents
# readings counts.
_up, _refused, _slow, _leads = (
    q.by("max", (*COMMON_LABELS, "instance"), q.select(family))
    for family in (c.SOURCE_UP, own.BREAKER_OPEN, own.VENDOR_SLOW, own.LEADER)
)
_seen = q.either(
    f"({_refused} == 1) * {s.HELD_BACK.value}",
    f"{_up} == 0",
    f"({_slow} == 1) * {s.SLOW.value}",
    f"({_leads} == 0) + {s.STANDS_BY.value}",
    _up,
)


def _none(kind: Kind) -> str:
    return f"""{q.each(c.SOURCE_TARGETS, f'kind="{kind}"')} == 0"""


# Lists that are empty although targets are expected, and each empty list of agents, unless the
# source's list of locations is empty, too.
_lists = q.on((*COMMON_LABELS, "kind"))
_expected = f"{q.select(own.TARGETS_EXPECTED)} == 1"
_missing = f"({_expected}) and {_lists} ({q.each(c.SOURCE_TARGETS)} == 0)"
_agentless = f"{_none(Kind.AGENT)} unless {q.on(COMMON_LABELS)} ({_none(Kind.LOCATION)})"
_empty = q.by("max", _TASK, q.either(_missing, q.labelled(_agentless, "task", Kind.AGENT.task)))
_read = q.by("max", _TASK, q.select(c.SOURCE_TASK_UP))

_failures = q.per_minute(own.POLL_FAILURES, (*_TASK, "reason"))
_failed = q.per_minute(own.HTTP_REQUESTS, (*_OPERATION, "outcome"), 'outcome!="ok"')
_rate = f"rate({q.select(own.SERIES_EXPIRED)}[$__rate_interval])"
_expired = q.shares(own.SERIES_EXPIRED, _rate)


def _ours(series: str, how: str = "max", labels: tuple[str, ...] = _EXPORTER) -> str:
    """Return the series of exporters, as other programs have metrics of the same name.

    An exporter that is gone is included if it ran at some time in the time range.
    """
    seen = f"last_over_time({q.select(own.BUILD_INFO)}[$__range])"
    return q.by(how, labels, f"{series} and on (job, instance) {seen}")


def _mine(family: NamedFamily, how: str = "max", *labels: str) -> str:
    return q.by(how, (*_EXPORTER, *labels), q.select(family))


def board(limits: Thresholds) -> Dashboard:
    """Return the dashboard, coloured by the alerts' thresholds."""
    stale = limits.stale_intervals
    panels = (
        p.stat("Oldest reading", f"max({_age})",
            steps=((None, s.GREEN), (2, s.ORANGE), (stale, s.RED)), w=5),
        p.stat("Failing tasks", f"sum({q.each(c.SOURCE_TASK_UP)} == bool 0)", steps=s.NONE_IS_WELL,
            w=5),
        p.stat("Breakers open", f"sum({q.each(own.BREAKER_OPEN)})", steps=s.NONE_IS_WELL, w=5),
        p.stat("Configuration", f"min({q.select(own.RELOAD_SUCCESSFUL)})", named=s.RELOAD,
            answers="ReloadFailed", w=5),
        p.stat("Delivery", f"max({q.select(own.NOTIFICATIONS_FAILING)})", named=s.DELIVERY,
            answers="NotificationsFailing"),
        p.timeline("Tasks", {_OF_TASK: q.either(f"{_empty} * 0 + {s.EMPTY.value}", _read)},
            named=s.TASK, answers="TaskFailing NothingKnown", w=24, h=9),
        p.series("Age of readings", {_OF_TASK: _age}, steps=s.above(stale, s.RED, s.GREEN),
            answers="PollsStale"),
        p.timeline("Sources as each exporter sees them",
            {"{{source}} ({{provider}}) from {{instance}}": _seen}, named=s.SEEN,
            answers="SourceUnreachable VendorSlow NoLeader TwoLeaders"),
        p.series("Failed and skipped polls",
            {
                f"{_OF_TASK}: {{{{reason}}}}": f"{_failures} > 0",
                f"{_OF_TASK} skipped: {{{{reason}}}}":
                    q.per_minute(own.SCHEDULE_SKIPPED, (*_TASK, "reason")),
            },
            "cpm", answers="PollsSkipped"),
        p.series("Durations of polls", {_OF_TASK: q.quantile(0.9, own.POLL_DURATION, *_TASK)}, "s"),
        p.heading("The vendors' APIs"),
        p.series("Calls", {_OF_SOURCE: q.per_minute(own.HTTP_REQUESTS, COMMON_LABELS)}, "cpm"),
        p.series("Durations of calls",
            {"{{operation}} ({{source}})":
                q.quantile(0.95, own.HTTP_REQUEST_DURATION, *_OPERATION)},
            "s"),
        p.series("Failed calls", {"{{operation}}: {{outcome}} ({{source}})": f"{_failed} > 0"},
            "cpm", answers="BudgetExhausted"),
        p.series("Calls in flight",
            {_OF_SOURCE: q.by("sum", COMMON_LABELS, q.select(own.HTTP_REQUESTS_IN_FLIGHT))}),
        p.series("Surprises in replies",
            {"{{source}} {{kind}}": q.per_minute(own.VENDOR_SURPRISES, (*COMMON_LABELS, "kind"))},
            "cpm", answers="VendorSurprises"),
        p.series("Targets and series",
            {
                "{{source}}: {{kind}}": q.in_sum(c.SOURCE_TARGETS),
                "{{source}} series": q.in_sum(own.SERIES),
                "{{source}} series expired per minute": f"{_expired} * 60",
            }),
        p.heading("The process and its notifications"),
        p.table("Exporters", "instance version python",
            p.Column("Scrape", _ours("up{}", "min"), named=s.SCRAPE),
            p.Column("Build", _mine(own.BUILD_INFO, "max", "version", "python"), hidden=True),
            p.Column("Restarts in 1h", _ours("changes(process_start_time_seconds{}[1h])"),
                steps=s.above(RESTARTS + 1, s.ORANGE)),
            p.Column("Web", _mine(own.WEB_CONFIG_SUCCESSFUL, "min"), named=s.RELOAD),
            p.Column("State", _mine(own.STATE_UP, "min"), named=s.STORE),
            p.Column("Memory", _ours("process_resident_memory_bytes{}"), "bytes"),
            p.Column("Exposition", _mine(own.EXPOSITION_BYTES), "bytes"),
            p.Column("Loaded", f"{_mine(own.RELOAD_SUCCESS_TIMESTAMP)} * 1000", "dateTimeFromNow"),
            sort="instance", answers="ExporterGone ExporterRestarting WebConfigRefused StateDown",
            w=24, h=6),
        p.series("Notifications",
            {
                "{{receiver}}": q.per_minute(own.NOTIFICATIONS, ("receiver",)),
                "{{receiver}} failed": q.per_minute(own.NOTIFICATION_FAILURES, ("receiver",)),
            },
            "cpm"),
        p.series("TLS certificates",
            {
                "{{instance}}": f"{_mine(own.WEB_CERTIFICATE_END)} - time()",
                _OF_SOURCE: f"{q.each(own.VENDOR_CERTIFICATE_END)} - time()",
            },
            "dtdurations", signed=True, steps=s.expiring(limits.certificate_expiry),
            answers="VendorCertificateExpiring WebCertificateExpiring"),
        p.series("Lateness and rendering",
            {
                f"{_OF_TASK} late": q.quantile(0.99, own.SCHEDULE_LATENESS, *_TASK),
                "{{instance}} rendering": q.quantile(0.99, own.RENDER_DURATION, "instance"),
            },
            "s"),
        p.series("CPU",
            {"{{instance}}": _ours("rate(process_cpu_seconds_total{}[$__rate_interval])", "sum")}),
    )  # fmt: skip
    return Dashboard(
        uid=Uid.EXPORTER,
        title="Load test fleet: exporter",
        description="Are readings up to date, how do the vendors' APIs answer, are alerts sent?",
        variables={"task": own.POLL_INTERVAL},
        marks=(RELOADS,),
        panels=panels,
    )
