"""The fleet overview: do I have to act, on what, and since when."""

from __future__ import annotations

from exporter.alerts.rule import PREFIX
from exporter.dashboards import machines, marks, states
from exporter.dashboards import metrics as m
from exporter.dashboards.charts import Stat, StateTimeline, TimeSeries
from exporter.dashboards.dashboard import Context, Dashboard, address, cell, link
from exporter.dashboards.panels import Panel, Row, Target, Text
from exporter.dashboards.query import Scope, by, either, labelled
from exporter.dashboards.tables import Column, Table
from exporter.dashboards.uids import AGENTS, EXPORTER, OVERVIEW, SUITES
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS


_scope = Scope()

# From one on it is too many.
_NONE_IS_WELL = ((None, states.GREEN), (1, states.RED))
_NONE_IS_BETTER = ((None, states.GREEN), (1, states.ORANGE))


def overview(context: Context) -> Dashboard:
    """Make the dashboard."""
    return Dashboard(
        uid=OVERVIEW,
        title="Load test fleet: overview",
        description="Do I have to act? On which machine, suite or source, and since when?",
        annotations=(
            marks.suite_runs(_scope),
            marks.other_runs(_scope),
            marks.restarts(_scope, enabled=False),
            marks.reloads(_scope),
        ),
        rows=(
            _numbers(),
            (_attention(), _alerts()),
            (_failed_suites(), _sources(context)),
            (Row(title="Over time"),),
            (_agents(), _agents_down(context)),
            (_machines(), _runs()),
            (_help(),),
        ),
    )


def _numbers() -> tuple[Panel, ...]:
    outdated = f"sum(({machines.all_states(_scope)}) == bool {states.OUTDATED.code})"
    failed = f"sum({_scope.each(c.SUITE_LAST_RUN_PASSED)} == bool 0)"
    return (
        Stat(
            title="Sources down",
            description="Sources whose vendor's API gives no valid answer, or refuses the"
            " credentials. 0 is well; otherwise nothing is known of all behind it. From"
            f" `{c.SOURCE_UP.name}`.",
            expression=f"sum({_scope.each(c.SOURCE_UP)} == bool 0)",
            width=4,
            steps=_NONE_IS_WELL,
        ),
        *(
            Stat(
                title=f"{title} unreachable",
                description=f"{title} that were not reached at the newest look. 0 is well. From"
                f" `{machine.up.name}`; inactive ones do not count.",
                expression=machine.count(_scope, states.UNREACHABLE),
                width=3,
                steps=_NONE_IS_WELL,
            )
            for title, machine in _TITLES
        ),
        Stat(
            title="Outdated",
            description="Machines of all kinds that answer and are too old to be used. 0 is well."
            f" From `{c.AGENT_OUTDATED.name}` and its like.",
            expression=outdated,
            width=4,
            steps=_NONE_IS_BETTER,
        ),
        Stat(
            title="Suites failed",
            description="Suites whose newest finished run has failed. 0 is well. From"
            f" `{c.SUITE_LAST_RUN_PASSED.name}`.",
            expression=failed,
            width=4,
            steps=_NONE_IS_BETTER,
        ),
    )


_TITLES = (
    ("Agents", machines.AGENT),
    ("Controllers", machines.CONTROLLER),
    ("Members", machines.MEMBER),
    ("Recorders", machines.RECORDER),
)


def _attention() -> Panel:
    chosen = (f"var-source={cell('source')}", f"var-{cell('variable')}={cell('object')}")
    return Table(
        title="Machines that need attention",
        description="Every machine that is unreachable or outdated, why, and when it was last seen"
        f" up; the name leads to its details. Empty when all is well. From `{c.AGENT_UP.name}`,"
        f" `{c.AGENT_OUTDATED.name}` and their like.",
        columns=(
            Column(title="State", expression=machines.offenders(_scope), named=states.MACHINE),
            Column(
                title="Last seen up", expression=machines.last_up(_scope), unit="dateTimeFromNow"
            ),
            Column(title="Reason", expression=machines.reasons(_scope)),
        ),
        labels={"object": "Machine", "kind": "Kind", "source": "Source", "reason": "Reason"},
        hidden=("provider", "variable"),
        links={"object": address(AGENTS, *chosen)},
        sort="-Value #A",
        empty="No machine needs attention, as far as is known.",
        width=14,
    )


def _alerts() -> Panel:
    wanted = (f'alertname=~"{PREFIX}.+"', 'alertstate="firing"')
    # Alerts on what is absent have no job; of rules that Prometheus does not know, the exporter's
    # own evaluation tells.
    rules = f"{m.ALERTS.name}{{{', '.join(wanted)}}}"
    labels = ("alertname", "severity")
    own = f"{_scope.select(m.ALERTS_FIRING)} > 0"
    return Table(
        title="Firing alerts",
        description="How many alerts of each name fire, by Prometheus' rules or by the exporter's"
        f" built-in evaluation. From `{m.ALERTS.name}` and `{m.ALERTS_FIRING.name}`.",
        columns=(
            Column(
                title="Alerts",
                expression=either(by("count", labels, rules), by("max", labels, own)),
                unit="none",
            ),
        ),
        labels={"alertname": "Alert", "severity": "Severity"},
        words={"severity": states.SEVERITY_COLOURS},
        sort="severity",
        empty="No alert fires, as far as is known.",
        width=10,
    )


def _failed_suites() -> Panel:
    failed = f"{_scope.each(c.SUITE_LAST_RUN_PASSED)} == 0"
    ended = f"{_scope.each(c.SUITE_LAST_RUN_END)} * 1000"
    labels = (*COMMON_LABELS, *c.SUITE_LAST_RUN_PASSED.labels)
    return Table(
        title="Suites that failed",
        description="Suites whose newest finished run has failed, and when that run ended; the"
        f" name leads to its runs. Empty when all is well. From `{c.SUITE_LAST_RUN_PASSED.name}`.",
        columns=(
            Column(title="Verdict", expression=failed, named=states.VERDICT),
            Column(
                title="Ended",
                expression=f"{ended} and on ({', '.join(labels)}) ({failed})",
                unit="dateTimeFromNow",
            ),
        ),
        labels={"suite": "Suite", "source": "Source"},
        sort="suite",
        hidden=("provider", "suite_id"),
        links={"suite": link(SUITES, source="source", suite="suite")},
        empty="No suite has failed, as far as is known.",
        width=14,
        height=8,
    )


def _sources(context: Context) -> Panel:
    up = _scope.each(c.SOURCE_UP)
    refused = f"({_scope.each(c.SOURCE_AUTH_FAILED)} == 1) * {states.REFUSED.code}"
    return StateTimeline(
        title="Sources",
        description="Whether each vendor's API answers. Green is well; red is no valid answer;"
        " dark red are refused credentials, after which the exporter holds its calls back. From"
        f" `{c.SOURCE_UP.name}` and `{c.SOURCE_AUTH_FAILED.name}`.",
        target=Target(either(refused, up), "{{source}} ({{provider}})"),
        named=states.SOURCE,
        width=10,
        answers=context.answers(f"{PREFIX}SourceDown", f"{PREFIX}CredentialsRefused"),
    )


def _agents() -> Panel:
    return TimeSeries(
        title="Agents by state",
        description="How many agents are in each state. All green is well. From"
        f" `{c.AGENT_UP.name}`, `{c.AGENT_OUTDATED.name}` and `{c.AGENT_ACTIVE.name}`.",
        targets=tuple(
            Target(machines.AGENT.count(_scope, state), state.word)
            for state in reversed(states.MACHINE)
        ),
        unit="none",
        stacked=True,
        colours=states.colours(states.MACHINE),
    )


def _agents_down(context: Context) -> Panel:
    limit = context.thresholds.agents_down_ratio
    up = _scope.each(c.AGENT_UP)
    return TimeSeries(
        title="Share of agents unreachable",
        description="Of the agents that are watched, how many cannot be reached, by source. Near 0"
        f" is well; at the dashed line one cause for many is likely. From `{c.AGENT_UP.name}`.",
        targets=(Target(by("avg", COMMON_LABELS, f"{up} == bool 0"), "{{source}} ({{provider}})"),),
        unit="percentunit",
        steps=((None, states.GREEN), (limit, states.RED)),
        answers=context.answers(f"{PREFIX}HalfOfAgentsDown"),
    )


def _machines() -> Panel:
    urgent = f"({machines.all_states(_scope)}) >= bool {states.OUTDATED.code}"
    return TimeSeries(
        title="Machines that need attention over time",
        description="How many machines of each kind are unreachable or outdated. 0 is well. From"
        f" `{c.AGENT_UP.name}`, `{c.AGENT_OUTDATED.name}` and their like.",
        targets=(Target(by("sum", ("kind",), urgent), "{{kind}}"),),
        unit="none",
    )


def _runs() -> Panel:
    suites = f"sum({_scope.each(c.SUITE_RUNNING)})"
    phases = by("sum", ("phase",), _scope.each(c.RUN_PHASE, 'phase!="ended"'))
    return TimeSeries(
        title="Runs in flight",
        description="Suites with a run in flight, and runs by phase where the vendor tells it."
        f" Runs that stay before `running` are stuck. From `{c.SUITE_RUNNING.name}` and"
        f" `{c.RUN_PHASE.name}`.",
        targets=(
            Target(phases, "{{phase}}"),
            Target(labelled(suites, "what", "suites"), "{{what}}"),
        ),
        unit="none",
        colours=states.colours(states.PHASE),
    )


def _help() -> Panel:
    return Text(
        title="How to read this",
        description="What the dashboards of the fleet are for.",
        content="The numbers on top say whether to act, the tables on what. A machine's name leads"
        f" to [agents and controllers](/d/{AGENTS}), a suite's to [suites and runs](/d/{SUITES})."
        f" If numbers are missing or old, [the exporter](/d/{EXPORTER}) says why. Each panel that"
        " an alert comes from links to the alert's runbook.",
    )
