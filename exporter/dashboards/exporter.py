"""The exporter: are the numbers fresh, what do the vendors' APIs cost, and do alerts get out."""

from __future__ import annotations

from exporter.alerts.about import Uid
from exporter.alerts.operation import RESTARTS
from exporter.dashboards import states
from exporter.dashboards.dashboard import Dashboard, reloads
from exporter.dashboards.panels import Panels, Row, Stat, StateTimeline, TimeSeries
from exporter.dashboards.query import Scope, by, either, labelled, on
from exporter.dashboards.tables import Column, Table
from exporter.fleet.kinds import Kind
from exporter.metrics import catalogue as c
from exporter.metrics import own
from exporter.metrics.catalogue import COMMON_LABELS


_TASK = (*COMMON_LABELS, "task")
_OPERATION = (*COMMON_LABELS, "operation")
_scope = Scope(_TASK)

_SOURCE_LEGEND = "{{source}} ({{provider}})"
_TASK_LEGEND = "{{source}} {{task}}"

# The age of each task's newest good poll, in intervals, so that tasks of every pace compare.
_success = by("max", _TASK, f"{_scope.select(own.POLL_LAST_SUCCESS)} > 0")
_AGE = f"(time() - {_success}) / {_scope.each(own.POLL_INTERVAL)}"

_NUMBERS: Panels = {
    "Oldest reading": Stat(
        "The age of the newest good poll of the task that is worst off, in its intervals. Below 2"
        " is well.",
        query=f"max({_AGE})",
        width=5,
        steps=lambda limits: (
            (None, states.GREEN),
            (2, states.ORANGE),
            (limits.stale_intervals, states.RED),
        ),
    ),
    "Tasks without readings": Stat(
        "Tasks whose newest poll brought no readings: the list could not be read, or none of its"
        " targets could be asked. 0 is well.",
        query=f"sum({_scope.each(c.SOURCE_TASK_UP)} == bool 0)",
        width=5,
        steps=states.NONE_IS_WELL,
    ),
    "Breakers open": Stat(
        "Sources to which calls are held back because the credentials were refused. 0 is well.",
        query=f"sum({_scope.each(own.BREAKER_OPEN)})",
        width=5,
        steps=states.NONE_IS_WELL,
    ),
    "Configuration": Stat(
        "Whether the newest load of the configuration worked. If not, the exporter goes on with the"
        " one before.",
        query=f"min({_scope.select(own.RELOAD_SUCCESSFUL)})",
        width=5,
        named=states.RELOAD,
        answers=("LoadFleetReloadFailed",),
    ),
    "Notifications": Stat(
        "Whether the newest notification of each Alertmanager was delivered; there is no value"
        " while the built-in alerts are off.",
        query=f"max({_scope.select(own.NOTIFICATIONS_FAILING)})",
        width=4,
        named=states.DELIVERY,
        answers=("LoadFleetNotificationsFailing",),
    ),
}

_failures = _scope.per_minute(own.POLL_FAILURES, (*_TASK, "reason"))
_skipped = _scope.per_minute(own.SCHEDULE_SKIPPED, (*_TASK, "reason"))

# What each exporter sees of each source; of two troubles that at which nothing is known counts.
_seer = (*COMMON_LABELS, "instance")
_up = by("max", _seer, _scope.select(c.SOURCE_UP))
_held_back = by("max", _seer, _scope.select(own.BREAKER_OPEN))
_slow = by("max", _seer, _scope.select(own.VENDOR_SLOW))
_leads = by("max", _seer, _scope.select(own.LEADER))
_seen = either(
    f"({_held_back} == 1) * {states.HELD_BACK.value}",
    f"{_up} == 0",
    f"({_slow} == 1) * {states.SLOW.value}",
    f"({_leads} == 0) + {states.STANDS_BY.value}",
    _up,
)


def _none(kind: Kind) -> str:
    return f"""{_scope.each(c.SOURCE_TARGETS, f'kind="{kind}"')} == 0"""


# Lists without any targets where there should be some, and those of agents anyway, but for
# vendors whose agents are those of locations.
_lists = on((*COMMON_LABELS, "kind"))
_expected = f"{_scope.select(own.TARGETS_EXPECTED)} == 1"
_missing = f"({_expected}) and {_lists} ({_scope.each(c.SOURCE_TARGETS)} == 0)"
_agentless = f"{_none(Kind.AGENT)} unless {on(COMMON_LABELS)} ({_none(Kind.LOCATION)})"
_empty = by("max", _TASK, either(_missing, labelled(_agentless, "task", Kind.AGENT.task)))

_POLLS: Panels = {
    "Tasks": StateTimeline(
        "What became of each task's newest poll. Green is well; red brought no readings or only a"
        " part of them; dark red lists nothing where targets are expected: the vendor lists none,"
        " or `include` and `exclude` leave none. From"
        f" `{c.SOURCE_TASK_UP.name}`, `{c.SOURCE_TARGETS.name}` and `{own.TARGETS_EXPECTED.name}`.",
        queries={
            _TASK_LEGEND: either(
                f"{_empty} * 0 + {states.EMPTY.value}", _scope.each(c.SOURCE_TASK_UP)
            )
        },
        named=states.TASK,
        width=24,
        height=9,
        answers=("LoadFleetTaskFailing", "LoadFleetNothingKnown"),
    ),
    "Age of readings": TimeSeries(
        "How old each task's newest good poll is, in its intervals: a saw between 0 and 1 is well;"
        " beyond the dashed line its readings may be missing.",
        queries={_TASK_LEGEND: _AGE},
        steps=lambda limits: states.above(limits.stale_intervals, states.RED, states.GREEN),
        answers=("LoadFleetPollsStale",),
    ),
    "Sources as each exporter sees them": StateTimeline(
        "Whether each source answers each exporter. Green is well; grey is an exporter that stands"
        " by and shows what another one polls, of which there should be one per shard; red are no"
        " readings; dark red are calls held back because the credentials were refused; orange is a"
        " vendor whose time-outs are its own, so that no target is judged by them. If only one of"
        " several exporters is red, look at its network.",
        queries={"{{source}} ({{provider}}) from {{instance}}": _seen},
        named=states.SEEN,
        answers=(
            "LoadFleetSourceUnreachable",
            "LoadFleetVendorSlow",
            "LoadFleetNoLeader",
            "LoadFleetTwoLeaders",
        ),
    ),
    "Failed and skipped polls": TimeSeries(
        "Polls per minute in which something failed, by reason, and those that did not take place:"
        " the one before was still running, its time was missed, or calls were held back. None is"
        " well; targets that are down are no failures.",
        queries={
            f"{_TASK_LEGEND}: {{{{reason}}}}": f"{_failures} > 0",
            f"{_TASK_LEGEND} skipped: {{{{reason}}}}": _skipped,
        },
        unit="cpm",
        answers=("LoadFleetPollsSkipped",),
    ),
    "Durations of polls": TimeSeries(
        "Below what 90 % of the polls of each task stay. Well below the interval is well.",
        queries={_TASK_LEGEND: _scope.quantile(0.9, own.POLL_DURATION, *_TASK)},
        unit="s",
    ),
}

_slowest = _scope.quantile(0.95, own.HTTP_REQUEST_DURATION, *_OPERATION)
_failed = _scope.per_minute(own.HTTP_REQUESTS, (*_OPERATION, "outcome"), 'outcome!="ok"')
_waiting = by("sum", COMMON_LABELS, _scope.select(own.HTTP_REQUESTS_IN_FLIGHT))
_surprises = _scope.per_minute(own.VENDOR_SURPRISES, (*COMMON_LABELS, "kind"))
_exposed = _scope.in_sum(own.SERIES)
_rate = f"rate({_scope.select(own.SERIES_EXPIRED)}[$__rate_interval])"
_expired = f"{_scope.shares(own.SERIES_EXPIRED, _rate)} * 60"
_CALLS: Panels = {
    "The vendors' APIs": Row(),
    "Calls": TimeSeries(
        "Calls per minute to each source's API; compare with `requests_per_minute` and with what"
        " the vendor allows.",
        queries={_SOURCE_LEGEND: _scope.per_minute(own.HTTP_REQUESTS, COMMON_LABELS)},
        unit="cpm",
    ),
    "Durations of calls": TimeSeries(
        "Below what 95 % of the calls of each operation stay. Steady is well; near the time-out the"
        " vendor is overloaded.",
        queries={"{{operation}} ({{source}})": _slowest},
        unit="s",
    ),
    "Failed calls": TimeSeries(
        "Calls per minute without a valid answer, by operation and reason. None is well;"
        " `rate_limited` are those that the vendor refused as too many (429).",
        queries={"{{operation}}: {{outcome}} ({{source}})": f"{_failed} > 0"},
        unit="cpm",
        answers=("LoadFleetBudgetExhausted",),
    ),
    "Calls under way": TimeSeries(
        "Calls to each source that wait for their answers. At the source's `concurrency` for long"
        " means that polls take long.",
        queries={_SOURCE_LEGEND: _waiting},
    ),
    "Surprises in replies": TimeSeries(
        "Values per minute that the vendors' API references do not know. None is well; many after a"
        " vendor's release are worth a report.",
        queries={"{{source}} {{kind}}": _surprises},
        unit="cpm",
        answers=("LoadFleetVendorSurprises",),
    ),
    "Targets and series": TimeSeries(
        "Targets in the newest inventory of each source, series of them, and how many of these per"
        " minute ended for want of a newer reading. Steady and none is well; no target at all may"
        " be a filter that matches nothing.",
        queries={
            "{{source}}: {{kind}}": _scope.in_sum(c.SOURCE_TARGETS),
            "{{source}} series": _exposed,
            "{{source}} series expired per minute": _expired,
        },
    ),
}


def _ours(expression: str) -> str:
    """Leave out other programs, which have these metrics too: all jobs are theirs as well.

    An exporter that is gone is still one of ours while it was there at some time shown.
    """
    seen = f"last_over_time({_scope.select(own.BUILD_INFO)}[$__range])"
    return f"{expression} and on (job, instance) {seen}"


_cores = _ours('rate(process_cpu_seconds_total{job=~"$job"}[$__rate_interval])')
_labels = ("job", "instance")
_build = by("max", (*_labels, "version", "python"), _scope.select(own.BUILD_INFO))
_memory = by("max", _labels, _ours('process_resident_memory_bytes{job=~"$job"}'))
_exposition = by("max", _labels, _scope.select(own.EXPOSITION_BYTES))
_loaded = by("max", _labels, _scope.select(own.RELOAD_SUCCESS_TIMESTAMP))
_web_loaded = by("min", _labels, _scope.select(own.WEB_CONFIG_SUCCESSFUL))
_starts = by("max", _labels, _ours('changes(process_start_time_seconds{job=~"$job"}[1h])'))
_late = _scope.quantile(0.99, own.SCHEDULE_LATENESS, *_TASK)
_own_end = by("max", ("instance",), _scope.select(own.WEB_CERTIFICATE_END))
_PROCESS: Panels = {
    "The process and its notifications": Row(),
    "Exporters": Table(
        "Each exporter: whether Prometheus can scrape it, how often it was started anew within an"
        " hour, whether the newest load of its configuration and of its web configuration (users,"
        " TLS) worked, where its state is, its version, its memory, the size of its exposition, and"
        " when its configuration was loaded. From `up`, `process_start_time_seconds`,"
        f" `{own.BUILD_INFO.name}`, `{own.WEB_CONFIG_SUCCESSFUL.name}` and `{own.STATE_UP.name}`.",
        columns=(
            Column("Scrape", by("min", _labels, _ours('up{job=~"$job"}')), named=states.SCRAPE),
            Column("Build", _build, hidden=True),
            Column("Restarts in 1h", _starts, steps=states.above(RESTARTS + 1, states.ORANGE)),
            Column("Web configuration", _web_loaded, named=states.RELOAD),
            Column("State", by("min", _labels, _scope.select(own.STATE_UP)), named=states.STORE),
            Column("Memory", _memory, unit="bytes"),
            Column("Exposition", _exposition, unit="bytes"),
            Column("Configuration loaded", f"{_loaded} * 1000", unit="dateTimeFromNow"),
        ),
        labels=("instance", "version", "python"),
        hidden=("job",),
        sort="instance",
        height=6,
        answers=(
            "LoadFleetExporterGone",
            "LoadFleetExporterRestarting",
            "LoadFleetWebConfigRefused",
            "LoadFleetStateDown",
        ),
    ),
    "Notifications": TimeSeries(
        "Notifications per minute to each Alertmanager, and failed ones, while the built-in alerts"
        " are on (`alerting.alertmanagers`). No failure is well.",
        queries={
            "{{receiver}}": _scope.per_minute(own.NOTIFICATIONS, ("receiver",)),
            "{{receiver}} failed": _scope.per_minute(own.NOTIFICATION_FAILURES, ("receiver",)),
        },
        unit="cpm",
    ),
    "TLS certificates": TimeSeries(
        "How long the certificates are still good that each exporter and each vendor's API present;"
        " below the dashed line they expire soon. What goes over plain HTTP has none.",
        queries={
            "{{instance}}": f"{_own_end} - time()",
            _SOURCE_LEGEND: f"{_scope.each(own.VENDOR_CERTIFICATE_END)} - time()",
        },
        unit="dtdurations",
        signed=True,
        steps=lambda limits: states.expiring(limits.certificate_expiry),
        answers=("LoadFleetVendorCertificateExpiring", "LoadFleetWebCertificateExpiring"),
    ),
    "Lateness and rendering": TimeSeries(
        "How long after their time 99 % of the polls started, and below what 99 % of the"
        " renderings of what a poll changed stay. Milliseconds are well; seconds are an exporter"
        " short of CPU.",
        queries={
            f"{_TASK_LEGEND} late": _late,
            "{{instance}} rendering": _scope.quantile(0.99, own.RENDER_DURATION, "instance"),
        },
        unit="s",
    ),
    "CPU": TimeSeries(
        "Cores that each exporter uses. Near 1 it is at its limit: shard the fleet. From"
        " `process_cpu_seconds_total`.",
        queries={"{{instance}}": by("sum", ("instance",), _cores)},
    ),
}

DASHBOARD = Dashboard(
    uid=Uid.EXPORTER,
    title="Load test fleet: exporter",
    description="Are the numbers fresh, what do the vendors' APIs cost, do alerts get out?",
    variables={"task": own.POLL_INTERVAL},
    annotations=(reloads(_scope),),
    sections=(_NUMBERS, _POLLS, _CALLS, _PROCESS),
)
