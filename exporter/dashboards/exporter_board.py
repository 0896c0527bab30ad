"""The exporter: are the numbers fresh, what do the vendors' APIs cost, and do alerts get out."""

from __future__ import annotations

from exporter.alerts.rule import PREFIX
from exporter.dashboards import calls, marks, states
from exporter.dashboards import metrics as m
from exporter.dashboards.charts import Stat, StateTimeline, TimeSeries
from exporter.dashboards.dashboard import Context, Dashboard, Variable
from exporter.dashboards.panels import Panel, Row, Target
from exporter.dashboards.query import Scope, by, quantile, rate
from exporter.dashboards.tables import Column, Table
from exporter.dashboards.uids import EXPORTER
from exporter.metrics.catalogue import COMMON_LABELS


_TASK = (*COMMON_LABELS, "task")
_scope = Scope(variables=_TASK)

_SOURCE_LEGEND = "{{source}} ({{provider}})"
_TASK_LEGEND = "{{source}} {{task}}"

_ONE_IS_BAD = ((None, states.GREEN), (1, states.RED))


def exporter(context: Context) -> Dashboard:
    """Make the dashboard."""
    return Dashboard(
        uid=EXPORTER,
        title="Load test fleet: exporter",
        description="Are the numbers fresh, what do the vendors' APIs cost, do alerts get out?",
        variables=(Variable(label="task", title="Task", metric=m.POLL_INTERVAL),),
        annotations=(marks.reloads(_scope),),
        rows=(
            _numbers(context),
            (_freshness(context), _failures()),
            (_lateness(), _skipped()),
            (_poll_durations(), _guards()),
            (Row(title="The vendors' APIs"),),
            *calls.rows(_scope),
            (Row(title="The process and its notifications"),),
            (_notifications(), _rendering()),
            (_process(), _exporters(context)),
        ),
    )


def _freshness_query() -> str:
    # In intervals, so that tasks of every pace compare.
    success = f"max by ({', '.join(_TASK)}) ({_scope.select(m.POLL_LAST_SUCCESS)} > 0)"
    return f"(time() - {success}) / {_scope.each(m.POLL_INTERVAL)}"


def _numbers(context: Context) -> tuple[Panel, ...]:
    limit = context.thresholds.stale_intervals
    never = f"sum({_scope.each(m.POLL_LAST_SUCCESS)} == bool 0)"
    return (
        Stat(
            title="Oldest reading",
            description="The age of the newest good poll of the task that is worst off, in its"
            f" intervals. Below 2 is well. From `{m.POLL_LAST_SUCCESS.name}` and"
            f" `{m.POLL_INTERVAL.name}`.",
            expression=f"max({_freshness_query()})",
            width=5,
            steps=((None, states.GREEN), (2, states.ORANGE), (limit, states.RED)),
        ),
        Stat(
            title="Tasks without success",
            description="Tasks that have never been polled without a failure since the start. 0 is"
            f" well. From `{m.POLL_LAST_SUCCESS.name}`.",
            expression=never,
            width=5,
            steps=_ONE_IS_BAD,
        ),
        Stat(
            title="Breakers open",
            description="Sources to which calls are held back because the credentials were"
            f" refused. 0 is well. From `{m.BREAKER_OPEN.name}`.",
            expression=f"sum({_scope.each(m.BREAKER_OPEN)})",
            width=5,
            steps=_ONE_IS_BAD,
        ),
        Stat(
            title="Configuration",
            description="Whether the newest load of the configuration worked. If not, the exporter"
            f" goes on with the one before. From `{m.RELOAD_SUCCESSFUL.name}`.",
            expression=f"min({_scope.select(m.RELOAD_SUCCESSFUL)})",
            width=5,
            named=states.RELOAD,
            answers=context.answers(f"{PREFIX}ReloadFailed"),
        ),
        Stat(
            title="Notifications",
            description="Whether the newest notification of each Alertmanager was delivered; there"
            " is no value while the built-in alerts are off. From"
            f" `{m.NOTIFICATIONS_FAILING.name}`.",
            expression=f"max({_scope.select(m.NOTIFICATIONS_FAILING)})",
            width=4,
            named=states.DELIVERY,
            answers=context.answers(f"{PREFIX}NotificationsFailing"),
        ),
    )


def _freshness(context: Context) -> Panel:
    limit = context.thresholds.stale_intervals
    return TimeSeries(
        title="Age of readings",
        description="How old each task's newest good poll is, in its intervals: a saw between 0"
        " and 1 is well; beyond the dashed line its readings may be missing. From"
        f" `{m.POLL_LAST_SUCCESS.name}` and `{m.POLL_INTERVAL.name}`.",
        targets=(Target(_freshness_query(), _TASK_LEGEND),),
        unit="none",
        steps=((None, states.GREEN), (limit, states.RED)),
        answers=context.answers(f"{PREFIX}PollsStale"),
    )


def _failures() -> Panel:
    failures = _scope.per_minute(m.POLL_FAILURES, *_TASK, "reason")
    return TimeSeries(
        title="Failed polls",
        description="Polls per minute in which something failed, by reason. None is well; targets"
        f" that are down are no failures. From `{m.POLL_FAILURES.name}`.",
        targets=(Target(f"{failures} > 0", f"{_TASK_LEGEND}: {{{{reason}}}}"),),
        unit="cpm",
    )


def _lateness() -> Panel:
    late = quantile(0.99, _TASK, _scope.select(m.SCHEDULE_LATENESS))
    return TimeSeries(
        title="Lateness of polls",
        description="How long after their time 99 % of the polls started. Milliseconds are well;"
        f" seconds are an exporter short of CPU. From `{m.SCHEDULE_LATENESS.name}`.",
        targets=(Target(late, _TASK_LEGEND),),
        unit="s",
    )


def _skipped() -> Panel:
    labels = (*_TASK, "reason")
    skipped = _scope.per_minute(m.SCHEDULE_SKIPPED, *labels)
    return TimeSeries(
        title="Skipped polls",
        description="Polls per minute that did not take place: the one before was still running,"
        " its time was missed, or calls were held back. None is well. From"
        f" `{m.SCHEDULE_SKIPPED.name}`.",
        targets=(Target(by("sum", (*COMMON_LABELS, "reason"), skipped), "{{source}} {{reason}}"),),
        unit="cpm",
    )


def _poll_durations() -> Panel:
    return TimeSeries(
        title="Durations of polls",
        description="Below what 90 % of the polls of each task stay. Well below the interval is"
        f" well. From `{m.POLL_DURATION.name}`.",
        targets=(Target(quantile(0.9, _TASK, _scope.select(m.POLL_DURATION)), _TASK_LEGEND),),
        unit="s",
    )


def _guards() -> Panel:
    return StateTimeline(
        title="Breakers",
        description="Whether calls to each source are held back because the credentials were"
        f" refused. Green is well. From `{m.BREAKER_OPEN.name}`.",
        target=Target(_scope.each(m.BREAKER_OPEN), _SOURCE_LEGEND),
        named=states.BREAKER,
    )


def _notifications() -> Panel:
    return TimeSeries(
        title="Notifications",
        description="Notifications per minute to each Alertmanager, and failed ones, while the"
        " built-in alerts are on (`alerting.alertmanagers`). No failure is well. From"
        f" `{m.NOTIFICATIONS.name}` and `{m.NOTIFICATION_FAILURES.name}`.",
        targets=(
            Target(_scope.per_minute(m.NOTIFICATIONS, "receiver"), "{{receiver}}"),
            Target(_scope.per_minute(m.NOTIFICATION_FAILURES, "receiver"), "{{receiver}} failed"),
        ),
        unit="cpm",
    )


def _rendering() -> Panel:
    slowest = quantile(0.99, ("instance",), _scope.select(m.RENDER_DURATION))
    return TimeSeries(
        title="Durations of rendering",
        description="Below what 99 % of the renderings of what a poll changed stay. Milliseconds"
        f" are well. From `{m.RENDER_DURATION.name}`.",
        targets=(Target(slowest, "{{instance}}"),),
        unit="s",
    )


def _process() -> Panel:
    cores = by("sum", ("instance",), _ours(rate(_scope.select(m.CPU_SECONDS))))
    return TimeSeries(
        title="CPU",
        description="Cores that each exporter uses. Near 1 it is at its limit: shard the fleet."
        f" From `{m.CPU_SECONDS.name}`.",
        targets=(Target(cores, "{{instance}}"),),
        unit="none",
    )


def _exporters(context: Context) -> Panel:
    labels = ("job", "instance")
    built = by("max", (*labels, "version", "python"), _scope.select(m.BUILD_INFO))
    loaded = by("max", labels, _scope.select(m.RELOAD_SUCCESS_TIMESTAMP))
    return Table(
        title="Exporters",
        description="Each exporter: whether Prometheus can scrape it, its version, its memory, the"
        f" size of its exposition, and when its configuration was loaded. From `{m.UP.name}` and"
        f" `{m.BUILD_INFO.name}`.",
        columns=(
            Column(
                title="Scrape",
                expression=by("min", labels, _ours(_scope.select(m.UP))),
                named=states.SCRAPE,
            ),
            Column(title="Build", expression=built),
            Column(
                title="Memory",
                expression=by("max", labels, _ours(_scope.select(m.RESIDENT_MEMORY))),
                unit="bytes",
            ),
            Column(
                title="Exposition",
                expression=by("max", labels, _scope.select(m.EXPOSITION_BYTES)),
                unit="bytes",
            ),
            Column(
                title="Configuration loaded", expression=f"{loaded} * 1000", unit="dateTimeFromNow"
            ),
        ),
        labels={"instance": "Exporter", "version": "Version", "python": "Python"},
        sort="instance",
        hidden=("job",),
        width=12,
        height=8,
        answers=context.answers(f"{PREFIX}ExporterGone"),
    )


def _ours(expression: str) -> str:
    """Leave out other programs, which have these metrics too: all jobs are theirs as well.

    An exporter that is gone is still one of ours while it was there at some time shown.
    """
    seen = f"last_over_time({_scope.select(m.BUILD_INFO)}[$__range])"
    return f"{expression} and on (job, instance) {seen}"
