"""The fleet overview: do I have to act, on what, and since when."""

from __future__ import annotations

from exporter.alerts.about import Uid
from exporter.dashboards import states
from exporter.dashboards.dashboard import Dashboard, other_runs, reloads, restarts, suite_runs
from exporter.dashboards.machines import Machines, machines
from exporter.dashboards.panels import Panels, Row, Stat, StateTimeline, Text, TimeSeries
from exporter.dashboards.query import Scope, by, either, labelled, labels_of, on
from exporter.dashboards.tables import Column, Table, link
from exporter.metrics import catalogue as c
from exporter.metrics import own


_scope = Scope()
_fleet = machines(_scope)
_agents, _controllers, _clusters, _members, _recorders = _fleet
_all_states = either(*(each.listed(each.codes()) for each in _fleet))


def _unreachable(plural: str, machines: Machines) -> Stat:
    return Stat(
        f"{plural} that were not reached at the newest poll. 0 is well. From"
        f" `{machines.family('UP').name}`; inactive ones do not count.",
        query=machines.count(states.UNREACHABLE),
        width=3,
        steps=states.NONE_IS_WELL,
    )


_NUMBERS: Panels = {
    "Sources down": Stat(
        "Sources of which no task's newest poll brought readings, or whose vendor refuses the"
        " credentials. 0 is well;"
        " otherwise nothing is known of all behind it.",
        query=f"sum({_scope.each(c.SOURCE_UP)} == bool 0)",
        width=4,
        steps=states.NONE_IS_WELL,
    ),
    "Agents unreachable": _unreachable("Agents", _agents),
    "Controllers unreachable": _unreachable("Controllers", _controllers),
    "Members unreachable": _unreachable("Members", _members),
    "Recorders unreachable": _unreachable("Recorders", _recorders),
    "Outdated": Stat(
        "Machines of all kinds that answer and are too old to be used. 0 is well. From"
        f" `{c.AGENT_OUTDATED.name}` and its like.",
        query=f"sum(({_all_states}) == bool {states.OUTDATED.value})",
        width=4,
        steps=states.NONE_IS_BETTER,
    ),
    "Suites failed": Stat(
        "Suites whose newest run with a verdict did not pass. 0 is well.",
        query=f"sum({_scope.each(c.SUITE_LAST_RUN_PASSED)} == bool 0)",
        width=4,
        steps=states.NONE_IS_BETTER,
    ),
}

# Alerts on what is absent have no job; of rules that Prometheus does not know, the exporter's
# own evaluation tells.
_by_rules = 'ALERTS{alertname=~"LoadFleet.+", alertstate="firing", severity!="none"}'
_built_in = f"{_scope.in_sum(own.ALERTS_FIRING)} > 0"
_alert = ("alertname", "severity")
_failed = f"{_scope.each(c.SUITE_LAST_RUN_PASSED)} == 0"
# What one of the machines is known by: `variable` is the one that chooses it.
_offender = (*c.COMMON_LABELS, "kind", "object", "variable")
_offending = by("max", _offender, f"({_all_states}) >= {states.OUTDATED.value}")
_dated = (_agents, _controllers, _recorders)
_last_up = either(*(each.listed(each.each("LAST_UP")) for each in _dated))
_reasons = either(*(each.listed(each.each("FAILURE")) for each in _fleet))
_ended = f"{_scope.each(c.SUITE_LAST_RUN_END)} * 1000"
_suite = on(labels_of(c.SUITE_LAST_RUN_PASSED))
_refused = f"({_scope.each(c.SOURCE_AUTH_FAILED)} == 1) * {states.REFUSED.value}"
_TABLES: Panels = {
    "Machines that need attention": Table(
        "Every machine that is unreachable or outdated, and every cluster that cannot be used: why,"
        " and when it was last seen up; the name"
        f" leads to its details. Empty when all is well. From `{c.AGENT_UP.name}`,"
        f" `{c.AGENT_OUTDATED.name}` and their like.",
        columns=(
            Column("State", _offending, named=states.MACHINE),
            Column(
                "Last seen up",
                f"{by('max', _offender, _last_up)} * 1000 and {on(_offender)} {_offending}",
                unit="dateTimeFromNow",
            ),
            Column("Reason", by("max", (*_offender, "reason"), _reasons), hidden=True),
        ),
        labels=("object", "kind", "source", "reason"),
        hidden=("provider", "variable"),
        links={"object": link(Uid.AGENTS, "object", named_by="variable")},
        empty="No machine needs attention, as far as is known.",
        width=14,
    ),
    "Firing alerts": Table(
        "How many alerts of each name fire, by Prometheus' rules or by the exporter's built-in"
        " evaluation.",
        columns=(Column("Alerts", either(by("count", _alert, _by_rules), _built_in)),),
        labels=("alertname", "severity"),
        sort="severity",
        empty="No alert fires, as far as is known.",
        width=10,
    ),
    "Suites that failed": Table(
        "Suites whose newest run with a verdict did not pass, and when the newest run ended; the"
        " name leads to"
        f" its runs. Empty when all is well. From `{c.SUITE_LAST_RUN_PASSED.name}`.",
        columns=(
            Column("Verdict", _failed, named=states.VERDICT),
            Column("Ended", f"{_ended} and {_suite} ({_failed})", unit="dateTimeFromNow"),
        ),
        labels=("suite", "source"),
        hidden=("provider", "suite_id"),
        links={"suite": link(Uid.SUITES, "suite")},
        sort="suite",
        empty="No suite has failed, as far as is known.",
        width=14,
        height=8,
    ),
    "Sources": StateTimeline(
        "Whether each vendor's API answers. Green is well; red are no readings; dark red are"
        " refused credentials, after which the exporter holds its calls back. From"
        f" `{c.SOURCE_UP.name}` and `{c.SOURCE_AUTH_FAILED.name}`.",
        queries={"{{source}} ({{provider}})": either(_refused, _scope.each(c.SOURCE_UP))},
        named=states.SOURCE,
        width=10,
        answers=("LoadFleetSourceDown", "LoadFleetCredentialsRefused"),
    ),
}

_down = by("avg", c.COMMON_LABELS, f"{_scope.each(c.AGENT_UP)} == bool 0")
_OVER_TIME: Panels = {
    "Over time": Row(),
    "Agents by state": TimeSeries(
        f"How many agents are in each state. All green is well. From `{c.AGENT_UP.name}`,"
        f" `{c.AGENT_OUTDATED.name}` and `{c.AGENT_ACTIVE.name}`.",
        queries={state.word: _agents.count(state) for state in reversed(states.MACHINE)},
        stacked=True,
        named=states.MACHINE,
    ),
    "Share of agents unreachable": TimeSeries(
        "Of the agents that are watched, how many cannot be reached, by source. Near 0 is well; at"
        " the dashed line one cause for many is likely.",
        queries={"{{source}} ({{provider}})": _down},
        unit="percentunit",
        steps=lambda limits: states.above(limits.agents_down_ratio, states.RED, states.GREEN),
        answers=("LoadFleetHalfOfAgentsDown",),
    ),
    "Machines that need attention over time": TimeSeries(
        "How many machines of each kind are unreachable or outdated. 0 is well. From"
        f" `{c.AGENT_UP.name}`, `{c.AGENT_OUTDATED.name}` and their like.",
        queries={
            "{{kind}}": by("sum", ("kind",), f"({_all_states}) >= bool {states.OUTDATED.value}")
        },
    ),
    "Runs in flight": TimeSeries(
        "Suites with a run in flight, and runs by phase where the vendor tells it. Runs that stay"
        f" before `running` are stuck. From `{c.SUITE_RUNNING.name}` and `{c.RUN_PHASE.name}`.",
        queries={
            "{{phase}}": by("sum", ("phase",), _scope.each(c.RUN_PHASE, 'phase!="ended"')),
            "{{what}}": labelled(f"sum({_scope.each(c.SUITE_RUNNING)})", "what", "suites"),
        },
        named=states.PHASE,
    ),
    "How to read this": Text(
        "What the dashboards of the fleet are for.",
        content="The numbers on top say whether to act, the tables on what. A machine's"
        f" name leads to [agents and controllers](/d/{Uid.AGENTS}), a suite's to"
        f" [suites and runs](/d/{Uid.SUITES}). If numbers are missing or old,"
        f" [the exporter](/d/{Uid.EXPORTER}) says why. Each panel that an alert comes from"
        " links to the alert's runbook.",
    ),
}

DASHBOARD = Dashboard(
    uid=Uid.OVERVIEW,
    title="Load test fleet: overview",
    description="Do I have to act? On which machine, suite or source, and since when?",
    annotations=(
        suite_runs(_scope),
        other_runs(_scope),
        restarts(_scope) | {"enable": False},
        reloads(_scope),
    ),
    sections=(_NUMBERS, _TABLES, _OVER_TIME),
)
