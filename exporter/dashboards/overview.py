"""The fleet overview: do I have to act, on what, and since when."""

from __future__ import annotations

from exporter.alerts.rule import PREFIX
from exporter.dashboards import machines, states
from exporter.dashboards import metrics as m
from exporter.dashboards.annotations import other_runs, reloads, restarts, suite_runs
from exporter.dashboards.dashboard import (
    AGENTS,
    EXPORTER,
    OVERVIEW,
    SUITES,
    Context,
    Dashboard,
    link,
)
from exporter.dashboards.panels import Panels, Row, Stat, StateTimeline, Text, TimeSeries
from exporter.dashboards.query import Scope, by, either, labelled, labels_of, on
from exporter.dashboards.tables import Column, Table
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS


_scope = Scope()

# From one on it is too many.
_NONE_IS_WELL = states.above(1, states.RED, states.GREEN)
_NONE_IS_BETTER = states.above(1, states.ORANGE, states.GREEN)


def overview(context: Context) -> Dashboard:
    """Make the dashboard."""
    return Dashboard(
        uid=OVERVIEW,
        title="Load test fleet: overview",
        description="Do I have to act? On which machine, suite or source, and since when?",
        annotations=(
            suite_runs(_scope),
            other_runs(_scope),
            restarts(_scope, enabled=False),
            reloads(_scope),
        ),
        sections=(
            _numbers(),
            _tables(context),
            {"Over time": Row()},
            _over_time(context),
        ),
    )


def _numbers() -> Panels:
    return {
        "Sources down": Stat(
            description="Sources whose vendor's API gives no valid answer, or refuses the"
            " credentials. 0 is well; otherwise nothing is known of all behind it.",
            query=f"sum({_scope.each(c.SOURCE_UP)} == bool 0)",
            width=4,
            steps=_NONE_IS_WELL,
        ),
        "Agents unreachable": _unreachable("Agents", machines.AGENT),
        "Controllers unreachable": _unreachable("Controllers", machines.CONTROLLER),
        "Members unreachable": _unreachable("Members", machines.MEMBER),
        "Recorders unreachable": _unreachable("Recorders", machines.RECORDER),
        "Outdated": Stat(
            description="Machines of all kinds that answer and are too old to be used. 0 is well."
            f" From `{c.AGENT_OUTDATED.name}` and its like.",
            query=f"sum(({machines.all_states(_scope)}) == bool {states.OUTDATED.code})",
            width=4,
            steps=_NONE_IS_BETTER,
        ),
        "Suites failed": Stat(
            description="Suites whose newest finished run has failed. 0 is well.",
            query=f"sum({_scope.each(c.SUITE_LAST_RUN_PASSED)} == bool 0)",
            width=4,
            steps=_NONE_IS_BETTER,
        ),
    }


def _unreachable(plural: str, machine: machines.Machine) -> Stat:
    return Stat(
        description=f"{plural} that were not reached at the newest look. 0 is well. From"
        f" `{machine.family('UP').name}`; inactive ones do not count.",
        query=machine.count(_scope, states.UNREACHABLE),
        width=3,
        steps=_NONE_IS_WELL,
    )


def _tables(context: Context) -> Panels:
    # Alerts on what is absent have no job; of rules that Prometheus does not know, the exporter's
    # own evaluation tells.
    by_rules = f'{m.ALERTS.name}{{alertname=~"{PREFIX}.+", alertstate="firing"}}'
    built_in = f"{_scope.select(m.ALERTS_FIRING)} > 0"
    alert = ("alertname", "severity")
    failed = f"{_scope.each(c.SUITE_LAST_RUN_PASSED)} == 0"
    ended = f"{_scope.each(c.SUITE_LAST_RUN_END)} * 1000"
    suite = on(labels_of(c.SUITE_LAST_RUN_PASSED))
    refused = f"({_scope.each(c.SOURCE_AUTH_FAILED)} == 1) * {states.REFUSED.code}"
    return {
        "Machines that need attention": Table(
            description="Every machine that is unreachable or outdated, why, and when it was last"
            " seen up; the name leads to its details. Empty when all is well. From"
            f" `{c.AGENT_UP.name}`, `{c.AGENT_OUTDATED.name}` and their like.",
            columns=(
                Column("State", machines.offenders(_scope), named=states.MACHINE),
                Column("Last seen up", machines.last_up(_scope), unit="dateTimeFromNow"),
                Column("Reason", machines.reasons(_scope)),
            ),
            labels=("object", "kind", "source", "reason"),
            hidden=("provider", "variable"),
            links={"object": link(AGENTS, "object", named_by="variable")},
            sort="-Value #A",
            empty="No machine needs attention, as far as is known.",
            width=14,
        ),
        "Firing alerts": Table(
            description="How many alerts of each name fire, by Prometheus' rules or by the"
            " exporter's built-in evaluation.",
            columns=(
                Column(
                    "Alerts",
                    either(by("count", alert, by_rules), by("max", alert, built_in)),
                    unit="none",
                ),
            ),
            labels=("alertname", "severity"),
            words={"severity": states.SEVERITY_COLOURS},
            sort="severity",
            empty="No alert fires, as far as is known.",
            width=10,
        ),
        "Suites that failed": Table(
            description="Suites whose newest finished run has failed, and when that run ended; the"
            " name leads to its runs. Empty when all is well. From"
            f" `{c.SUITE_LAST_RUN_PASSED.name}`.",
            columns=(
                Column("Verdict", failed, named=states.VERDICT),
                Column("Ended", f"{ended} and {suite} ({failed})", unit="dateTimeFromNow"),
            ),
            labels=("suite", "source"),
            hidden=("provider", "suite_id"),
            links={"suite": link(SUITES, "suite")},
            sort="suite",
            empty="No suite has failed, as far as is known.",
            width=14,
            height=8,
        ),
        "Sources": StateTimeline(
            description="Whether each vendor's API answers. Green is well; red is no valid answer;"
            " dark red are refused credentials, after which the exporter holds its calls back. From"
            f" `{c.SOURCE_UP.name}` and `{c.SOURCE_AUTH_FAILED.name}`.",
            queries={"{{source}} ({{provider}})": either(refused, _scope.each(c.SOURCE_UP))},
            named=states.SOURCE,
            width=10,
            answers=context.answers("SourceDown", "CredentialsRefused"),
        ),
    }


def _over_time(context: Context) -> Panels:
    down = by("avg", COMMON_LABELS, f"{_scope.each(c.AGENT_UP)} == bool 0")
    urgent = f"({machines.all_states(_scope)}) >= bool {states.OUTDATED.code}"
    suites = f"sum({_scope.each(c.SUITE_RUNNING)})"
    in_flight = _scope.each(c.RUN_PHASE, 'phase!="ended"')
    return {
        "Agents by state": TimeSeries(
            description="How many agents are in each state. All green is well. From"
            f" `{c.AGENT_UP.name}`, `{c.AGENT_OUTDATED.name}` and `{c.AGENT_ACTIVE.name}`.",
            queries={
                state.word: machines.AGENT.count(_scope, state)
                for state in reversed(states.MACHINE)
            },
            stacked=True,
            colours={state.word: state.colour for state in states.MACHINE},
        ),
        "Share of agents unreachable": TimeSeries(
            description="Of the agents that are watched, how many cannot be reached, by source."
            " Near 0 is well; at the dashed line one cause for many is likely.",
            queries={"{{source}} ({{provider}})": down},
            unit="percentunit",
            steps=states.above(context.thresholds.agents_down_ratio, states.RED, states.GREEN),
            answers=context.answers("HalfOfAgentsDown"),
        ),
        "Machines that need attention over time": TimeSeries(
            description="How many machines of each kind are unreachable or outdated. 0 is well."
            f" From `{c.AGENT_UP.name}`, `{c.AGENT_OUTDATED.name}` and their like.",
            queries={"{{kind}}": by("sum", ("kind",), urgent)},
        ),
        "Runs in flight": TimeSeries(
            description="Suites with a run in flight, and runs by phase where the vendor tells it."
            f" Runs that stay before `running` are stuck. From `{c.SUITE_RUNNING.name}` and"
            f" `{c.RUN_PHASE.name}`.",
            queries={
                "{{phase}}": by("sum", ("phase",), in_flight),
                "{{what}}": labelled(suites, "what", "suites"),
            },
            colours=states.PHASE_COLOURS,
        ),
        "How to read this": Text(
            description="What the dashboards of the fleet are for.",
            content="The numbers on top say whether to act, the tables on what. A machine's"
            f" name leads to [agents and controllers](/d/{AGENTS}), a suite's to"
            f" [suites and runs](/d/{SUITES}). If numbers are missing or old,"
            f" [the exporter](/d/{EXPORTER}) says why. Each panel that an alert comes from"
            " links to the alert's runbook.",
        ),
    }
