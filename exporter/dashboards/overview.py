"""The fleet overview: do I have to act, on what, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.about import Uid
from exporter.alerts.recording import AGENT, CLUSTER, MACHINES, MEMBER, Code
from exporter.dashboards import panels as p
from exporter.dashboards import query as q
from exporter.dashboards import states as s
from exporter.dashboards.dashboard import RELOADS, RUNS, STARTS, SUITES, Dashboard
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from exporter.alerts.thresholds import Thresholds


_SOURCE = "{{source}} ({{provider}})"
_LINKS = (
    p.details(Uid.AGENTS, "target", named_by="variable"),
    p.page("${__data.fields.page}", "target_id"),
)

_others = q.states(None, 'kind!="agent"')
_attention = f"topk({q.MANY}, {q.states()} >= {Code.OUTDATED})"
_changed = q.either(*(q.each(one.family("CHANGED")) for one in MACHINES))
_down = f"({_changed}) * 1000 and {q.MACHINE} ({q.states()} == {Code.UNREACHABLE})"
_reasons = q.either(*(q.each(one.family("FAILURE")) for one in MACHINES))

# Alerts on what is absent have no job; of rules that Prometheus does not know, the exporter's
# own evaluation tells.
_by_rules = 'ALERTS{alertname=~"LoadFleet.+", alertstate="firing", severity!="none"}'
_alerts = q.either(
    q.by("count", ("alertname", "severity"), _by_rules), f"{q.in_sum(own.ALERTS_FIRING)} > 0"
)
_failed = f"topk({q.MANY}, {q.each(c.SUITE_LAST_RUN_PASSED)} == 0)"
_ended = f"{q.each(c.SUITE_LAST_RUN_END)} * 1000 and {q.on((*c.COMMON_LABELS, 'suite_id'))}"
_refused = f"({q.each(c.SOURCE_AUTH_FAILED)} == 1) * {s.REFUSED.value}"

_clocks = q.either(*(q.each(one.family("CLOCK_DELTA")) for one in MACHINES if one is not CLUSTER))
_off = f"topk({q.SOME}, abs({_clocks}))"
_versions = {
    one: q.labelled(q.facts(one.family("INFO"), one.labels, "version"), "component", one.kind)
    for one in MACHINES
    if one not in {CLUSTER, MEMBER}
}
_outdated = (
    f"({series} and {q.on(one.labels)} ({q.states(one)} == {Code.OUTDATED}))"
    for one, series in _versions.items()
)
_version = ("component", "version")
_too_old = q.by("count", _version, q.either(*_outdated))

_users = f"{q.each(c.AGENT_USERS_LIMIT)} < Inf"
_usable = f"{_users} and {q.on(AGENT.labels)} ({q.states(AGENT)} == {Code.UP})"
_jobs = f"({q.only(c.AGENT_JOBS, 'state', 'running')} > bool 0)"
_work = f"({q.either(q.each(c.AGENT_BUSY), _jobs)})"
_engines = f"{q.each(c.LOCATION_SLOTS)} * {q.each(c.LOCATION_THREADS_PER_ENGINE)}"


def board(limits: Thresholds) -> Dashboard:
    """Make the dashboard."""
    panels = (
        p.stat("Sources down", "Sources of which no task's newest poll brought readings, or whose"
            " vendor refuses the credentials. 0 is well; otherwise nothing is known of all behind"
            " it.",
            f"sum({q.each(c.SOURCE_UP)} == bool 0)", steps=s.NONE_IS_WELL),
        p.stat("Agents down", "Agents that were not reached at the newest poll. 0 is well;"
            " inactive ones do not count.",
            f"sum({q.states(AGENT)} == bool {Code.UNREACHABLE})", steps=s.NONE_IS_WELL),
        p.stat("Others down", "Controllers, members and proxy recorders that were not reached, and"
            " clusters that cannot be used. 0 is well.",
            f"sum({_others} == bool {Code.UNREACHABLE})", steps=s.NONE_IS_WELL),
        p.stat("Outdated", "Machines of all kinds that answer and are too old to be used. 0 is"
            " well.",
            f"sum({q.states()} == bool {Code.OUTDATED})", steps=s.NONE_IS_BETTER),
        p.stat("Failed suites", "Suites whose newest run with a verdict did not pass. 0 is well.",
            f"sum({q.each(c.SUITE_LAST_RUN_PASSED)} == bool 0)", steps=s.NONE_IS_BETTER),
        p.stat("Available", "The share of the time shown in which the agents were up, on average;"
            " time of which nothing is known is left out. 100 % is well.",
            f"avg({q.available(AGENT)})", steps=s.ALL_IS_WELL, unit="percentunit"),
        p.table("Machines that need attention", "Machines that are unreachable or outdated, and"
            f" clusters that cannot be used, {q.MANY} at most: why, and since when at the latest."
            " The name leads to details and to the board. Empty when all is well.",
            "target kind source reason", p.Column("State", _attention, named=s.MACHINE),
            p.Column("Since", _down, "dateTimeFromNow"), p.Column("Reason", _reasons, hidden=True),
            links=_LINKS, empty="No machine needs attention, as far as is known.", w=15, h=9),
        p.table("Firing alerts", "How many alerts of each name fire, by Prometheus' rules or by"
            " the exporter's built-in evaluation.",
            "alertname severity", p.Column("Alerts", _alerts), sort="severity",
            empty="No alert fires, as far as is known.", w=9, h=9),
        p.table("Suites that failed", "Suites whose newest run with a verdict did not pass, and"
            " when the newest run ended; the name leads to its runs and to the board. Empty when"
            " all is well.",
            "suite source", p.Column("Verdict", _failed, named=s.VERDICT),
            p.Column("Ended", f"{_ended} {_failed}", "dateTimeFromNow"),
            links=(p.details(Uid.SUITES, "suite"), p.page("suite", "suite_id")), sort="suite",
            empty="No suite has failed, as far as is known.", w=8),
        p.timeline("Sources", "Whether each vendor's API answers. Green is well; red are no"
            " readings; dark red are refused credentials, after which the exporter holds its"
            " calls back.",
            {_SOURCE: q.either(_refused, q.each(c.SOURCE_UP))}, named=s.SOURCE,
            answers="SourceDown CredentialsRefused", w=8),
        p.table("Least available", f"The {q.SOME} machines that were up for the smallest share of"
            " the time shown, of which unknown time is left out. The name leads to details and to"
            " the board.",
            "target kind source",
            p.Column("Up", f"bottomk({q.SOME}, {q.available()})", "percentunit", (), s.ALL_IS_WELL),
            links=_LINKS, sort="A", w=8),
        p.heading("Over time"),
        p.series("Agents by state", "How many agents are in each state. All green is well.",
            {
                state.word: f"sum({q.states(AGENT)} == bool {state.value})"
                for state in reversed(s.MACHINE)
            },
            stacked=True, named=s.MACHINE),
        p.series("Share of agents unreachable", "Of the agents that are watched, how many cannot"
            " be reached, by source. Near 0 is well; at the dashed line one cause for many is"
            " likely.",
            {_SOURCE: q.by("avg", c.COMMON_LABELS, f"{q.each(c.AGENT_UP)} == bool 0")},
            "percentunit", steps=s.above(limits.agents_down_ratio, s.RED, s.GREEN),
            answers="HalfOfAgentsDown"),
        p.series("Machines that need attention over time", "How many machines of each kind are"
            " unreachable or outdated. 0 is well.",
            {"{{kind}}": q.by("sum", ("kind",), f"{q.states()} >= bool {Code.OUTDATED}")}),
        p.series("Runs in flight over time", "Suites with a run in flight, and runs by phase where"
            " the vendor tells it. Runs that stay before `running` are stuck.",
            {
                "{{phase}}": q.by("sum", ("phase",), q.each(c.RUN_PHASE, 'phase!="ended"')),
                "{{what}}": q.labelled(f"sum({q.each(c.SUITE_RUNNING)})", "what", "suites"),
            },
            named=s.PHASE),
        p.heading("Clocks, versions and capacity"),
        p.table("Clocks off the most", f"The {q.SOME} machines whose clocks are farthest off, and"
            " in which direction. Less than a second is well; red are those by which results are"
            " dated wrongly.",
            "target kind source",
            p.Column("Off by", _off, "s", (), s.above(limits.clock_skew, s.RED)),
            p.Column("It is", f"sgn({_clocks}) and {_off}", named=s.DIRECTION),
            p.Column("State", f"{q.states()} and {q.MACHINE} ({_off})", named=s.MACHINE),
            links=_LINKS, w=14),
        p.table("Versions in use", "How many machines run each version, and how many of these are"
            " outdated, which is none when all is well.",
            "component version",
            p.Column("Machines", q.by("count", _version, q.either(*_versions.values()))),
            p.Column("Outdated", _too_old, steps=s.NONE_IS_BETTER), sort="version", w=10),
        p.series("Users that the fleet can take", "The sum of the limits of the agents that have"
            " one (Real Load): of all, of those that are up, and of those that are up and not at"
            " work; and what the agents of private locations that are up can run (BlazeMeter)."
            " Less than your next test needs is too little. Real Load tells who is at work with"
            " the task `jobs`, which is off by default.",
            {
                "all agents": f"sum({_users})",
                "agents that are up": f"sum({_usable})",
                "agents that are free": f"sum({_usable} unless {q.on(AGENT.labels)} ({_work} == 1))",
                "private locations": f"sum({q.each(c.LOCATION_AGENTS_UP)} * {_engines})",
            }),
        p.series("Share of agents at work", "Of the agents of which it is known, how many execute"
            " something, by source: BlazeMeter, Eggplant, and Real Load with the task `jobs`,"
            " which is off by default. Near 100 % the next test has to wait.",
            {_SOURCE: q.by("avg", c.COMMON_LABELS, _work)}, "percentunit"),
        p.text("How to read this", "What the dashboards of the fleet are for.", h=5,
            options={"content": "The numbers on top say whether to act, the tables on what. The name of a machine or a"
            f" suite leads to [agents and controllers](/d/{Uid.AGENTS}) or [suites and"
            f" runs](/d/{Uid.SUITES}), and to the exporter's board, whose address is the variable"
            f" *Board*. If numbers are missing or old, [the exporter](/d/{Uid.EXPORTER}) says why. Each"
            " panel that an alert comes from links to the alert's runbook. Lists show those that are"
            " worst off; *Filters* takes any label, your own too.\n\nStates and availability are"
            " recorded by the rules that `loadfleet-exporter rules` prints. Without them their panels"
            " are empty."}),
    )  # fmt: skip
    return Dashboard(
        uid=Uid.OVERVIEW,
        title="Load test fleet: overview",
        description="Do I have to act? On which machine, suite or source, and since when?",
        marks=(SUITES, RUNS, msgspec.structs.replace(STARTS, enabled=False), RELOADS),
        panels=panels,
    )
