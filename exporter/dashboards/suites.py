"""Suites and runs: results run by run, what they cost, and what is in flight."""

from __future__ import annotations

from exporter.alerts.rule import PREFIX
from exporter.dashboards import marks, runs, states
from exporter.dashboards.charts import Stat, StatusHistory, TimeSeries
from exporter.dashboards.dashboard import Context, Dashboard, Variable, link
from exporter.dashboards.panels import Panel, Row, Target, above
from exporter.dashboards.query import Scope, by, either
from exporter.dashboards.tables import Column, Table
from exporter.dashboards.uids import SUITES
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS


_scope = Scope(variables=(*COMMON_LABELS, "suite", "run"))

_SUITE = "{{suite}} ({{source}})"

# A suite's verdict changes with each run; a cell is as long as a frequent suite's run.
_CELL, _CELLS = "5m", 288


def suites(context: Context) -> Dashboard:
    """Make the dashboard."""
    return Dashboard(
        uid=SUITES,
        title="Load test fleet: suites and runs",
        description="Do the tests pass, how long do they take, and what is running?",
        variables=(
            Variable(label="suite", title="Suite", metric=c.SUITE_RUNNING),
            Variable(label="run", title="Run", metric=c.RUN_INFO),
        ),
        annotations=(
            marks.suite_runs(_scope),
            marks.other_runs(_scope),
            marks.reloads(_scope),
        ),
        since="now-24h",
        rows=(
            _numbers(),
            (_results(context),),
            (_table(context),),
            (_pass_rate(), _durations()),
            (_failures(), _sessions()),
            (_users(), _current_jobs()),
            (Row(title="Runs in flight and just ended"),),
            *runs.rows(_scope, context),
        ),
    )


def _numbers() -> tuple[Panel, ...]:
    return (
        Stat(
            title="Pass rate",
            description="The share of suites whose newest finished run has passed. 100 % is well."
            f" From `{c.SUITE_LAST_RUN_PASSED.name}`.",
            expression=f"avg({_scope.each(c.SUITE_LAST_RUN_PASSED)})",
            width=6,
            unit="percentunit",
            steps=((None, states.RED), (0.9, states.ORANGE), (1, states.GREEN)),
        ),
        Stat(
            title="Suites failed",
            description="Suites whose newest finished run has failed. From"
            f" `{c.SUITE_LAST_RUN_PASSED.name}`.",
            expression=f"sum({_scope.each(c.SUITE_LAST_RUN_PASSED)} == bool 0)",
            width=6,
            steps=((None, states.GREEN), (1, states.ORANGE)),
        ),
        Stat(
            title="Suites not runnable",
            description="Suites that the vendor finds fault with (Real Load). 0 is well. From"
            f" `{c.SUITE_HEALTHY.name}`.",
            expression=f"sum({_scope.each(c.SUITE_HEALTHY)} == bool 0)",
            width=6,
            steps=((None, states.GREEN), (1, states.RED)),
        ),
        Stat(
            title="Suites running",
            description=f"Suites with a run in flight. From `{c.SUITE_RUNNING.name}`.",
            expression=f"sum({_scope.each(c.SUITE_RUNNING)})",
            width=6,
            steps=((None, states.GREEN), (1, states.BLUE)),
        ),
    )


def _results(context: Context) -> Panel:
    running = f"({_scope.each(c.SUITE_RUNNING)} == 1) * {states.RUNNING.code}"
    return StatusHistory(
        title="Results run by run",
        description="Per suite the verdict on its newest finished run, and in blue the runs in"
        " flight. A column of green is well; red is at least one failed job. From"
        f" `{c.SUITE_LAST_RUN_PASSED.name}` and `{c.SUITE_RUNNING.name}`.",
        target=Target(either(running, _scope.each(c.SUITE_LAST_RUN_PASSED)), _SUITE),
        named=states.VERDICT,
        width=24,
        height=9,
        answers=context.answers(f"{PREFIX}SuiteFailed"),
        cell=_CELL,
        cells=_CELLS,
    )


def _table(context: Context) -> Panel:
    overdue = context.thresholds.suite_overdue
    jobs = c.SUITE_LAST_RUN_JOBS
    result = {
        "Jobs passed": 'result="passed"',
        "Jobs failed": 'result="failed"',
        "Not executed": 'result="not_executed"',
    }
    return Table(
        title="Newest finished runs",
        description="Each suite's newest finished run, and whether the vendor finds the suite"
        f" runnable. The name shows this suite alone. From `{c.SUITE_LAST_RUN_PASSED.name}` and"
        " its like.",
        columns=(
            Column(
                title="Verdict",
                expression=_scope.each(c.SUITE_LAST_RUN_PASSED),
                named=states.VERDICT,
            ),
            Column(
                title="Started before",
                expression=f"time() - {_scope.each(c.SUITE_LAST_RUN_START)}",
                unit="dtdurations",
                steps=above(overdue, states.ORANGE),
            ),
            Column(title="Took", expression=_scope.each(c.SUITE_LAST_RUN_DURATION), unit="s"),
            *(
                Column(
                    title=title,
                    expression=by("max", _SUITE_LABELS, _scope.select(jobs, matcher)),
                    unit="none",
                )
                for title, matcher in result.items()
            ),
            Column(
                title="Most users",
                expression=_scope.each(c.SUITE_LAST_RUN_MAX_USERS),
                unit="none",
            ),
            Column(
                title="Configuration",
                expression=_scope.each(c.SUITE_HEALTHY),
                named=states.RUNNABLE,
            ),
        ),
        labels={"suite": "Suite", "source": "Source"},
        hidden=("provider", "suite_id"),
        links={"suite": link(SUITES, source="source", suite="suite")},
        sort="Value #A",
        answers=context.answers(f"{PREFIX}SuiteUnhealthy", f"{PREFIX}SuiteOverdue"),
    )


_SUITE_LABELS = (*COMMON_LABELS, *c.SUITE_RUNNING.labels)


def _pass_rate() -> Panel:
    rate = by("avg", COMMON_LABELS, _scope.each(c.SUITE_LAST_RUN_PASSED))
    return TimeSeries(
        title="Pass rate by source",
        description="The share of suites whose newest finished run has passed. 100 % is well. From"
        f" `{c.SUITE_LAST_RUN_PASSED.name}`.",
        targets=(Target(rate, "{{source}} ({{provider}})"),),
        unit="percentunit",
    )


def _durations() -> Panel:
    return TimeSeries(
        title="Durations of runs",
        description="How long each suite's newest finished run took. Steady is well; longer runs"
        f" may collide with the next. From `{c.SUITE_LAST_RUN_DURATION.name}`.",
        targets=(Target(_scope.each(c.SUITE_LAST_RUN_DURATION), _SUITE),),
        unit="s",
    )


def _failures() -> Panel:
    samples = c.SUITE_LAST_RUN_SAMPLES
    failed = by("max", _SUITE_LABELS, _scope.select(samples, 'result="failed"'))
    everything = by("sum", _SUITE_LABELS, _scope.each(samples))
    return TimeSeries(
        title="Share of failed samples",
        description="Of the samples of each suite's newest finished run, how many failed (Real"
        f" Load). Near 0 is well. From `{samples.name}`.",
        targets=(Target(f"{failed} / {everything}", _SUITE),),
        unit="percentunit",
    )


def _sessions() -> Panel:
    return TimeSeries(
        title="Mean durations of sessions",
        description="How long a passed session of each suite's newest finished run took on average"
        " (Real Load). Steady is well; what rises is the tested system getting slower. From"
        f" `{c.SUITE_LAST_RUN_SESSION_MEAN.name}`.",
        targets=(Target(_scope.each(c.SUITE_LAST_RUN_SESSION_MEAN), _SUITE),),
        unit="s",
    )


def _users() -> Panel:
    return TimeSeries(
        title="Peaks of users and pending samples",
        description="The most users, and samples that waited for their replies, of each suite's"
        " newest finished run. Pending samples near the users mean a tested system that hangs."
        f" From `{c.SUITE_LAST_RUN_MAX_USERS.name}` and"
        f" `{c.SUITE_LAST_RUN_MAX_PENDING_SAMPLES.name}`.",
        targets=(
            Target(_scope.each(c.SUITE_LAST_RUN_MAX_USERS), "{{suite}} users ({{source}})"),
            Target(
                _scope.each(c.SUITE_LAST_RUN_MAX_PENDING_SAMPLES),
                "{{suite}} pending ({{source}})",
            ),
        ),
        unit="none",
    )


def _current_jobs() -> Panel:
    jobs = by("sum", (*COMMON_LABELS, "result"), _scope.each(c.SUITE_CURRENT_RUN_JOBS))
    return TimeSeries(
        title="Jobs of the runs in flight",
        description="How the jobs of suites' runs in flight ended so far (Real Load); without a"
        f" run in flight there is nothing. From `{c.SUITE_CURRENT_RUN_JOBS.name}`.",
        targets=(Target(jobs, "{{result}} ({{source}})"),),
        unit="none",
        stacked=True,
    )
