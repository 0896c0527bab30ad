"""The overview dashboard: whether to act, on which object, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
_down = f"({_changed}) * 1000 and {q.MACHINE} ({_attention} == {Code.UNREACHABLE})"
_failures = q.either(*(q.each(one.family("FAILURE")) for one in MACHINES))
_reasons = f"({_failures}) and {q.MACHINE} {_attention}"

# The alert about an absent exporter has no label `job`. If Prometheus has no rules, the exporter's
# own count of firing alerts is shown.
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

# If one of several exporters finds the fleet unfit, it is unfit, as for the alert.
_ready = q.merged(q.select(own.PREFLIGHT_READY), how="min")
_fitness = q.either(f"{_ready} + 1", f"{q.each(own.PREFLIGHT_DUE)} * 0")
_checks = q.merged(q.select(own.PREFLIGHT_CHECK_PASSED), how="min")
_fit, _unfit = (
    q.each(own.PREFLIGHT_AGENTS, f'state="{state}"', but=("state",)) for state in ("fit", "unfit")
)

_users = f"{q.each(c.AGENT_USERS_LIMIT)} < Inf"
_of_agent = q.on(AGENT.labels)
_usable = f"{_users} and {_of_agent} ({q.states(AGENT)} == {Code.UP})"
_jobs = f"({q.only(c.AGENT_JOBS, 'state', 'running')} > bool 0)"
_work = f"({q.either(q.each(c.AGENT_BUSY), _jobs)})"
_engines = f"{q.each(c.LOCATION_SLOTS)} * {q.each(c.LOCATION_THREADS_PER_ENGINE)}"


def board(limits: Thresholds) -> Dashboard:
    """Return the dashboard, coloured by the alerts' thresholds."""
    panels = (
        p.stat("Sources down", f"sum({q.each(c.SOURCE_UP)} == bool 0)", steps=s.NONE_IS_WELL),
        p.stat("Agents down", f"sum({q.states(AGENT)} == bool {Code.UNREACHABLE})",
            steps=s.NONE_IS_WELL),
        p.stat("Others down", f"sum({_others} == bool {Code.UNREACHABLE})", steps=s.NONE_IS_WELL),
        p.stat("Outdated", f"sum({q.states()} == bool {Code.OUTDATED})", steps=s.NONE_IS_BETTER,
            w=3),
        p.stat("Failed suites", f"sum({q.each(c.SUITE_LAST_RUN_PASSED)} == bool 0)",
            steps=s.NONE_IS_BETTER, w=5),
        p.stat("Available", f"avg({q.available(AGENT)})", steps=s.ALL_IS_WELL, unit="percentunit"),
        p.table("Machines that need attention", "target kind source reason",
            p.Column("State", _attention, named=s.MACHINE),
            p.Column("Since", _down, "dateTimeFromNow"), p.Column("Reason", _reasons, hidden=True),
            links=_LINKS, empty="No machine needs attention, as far as is known.", w=15, h=9),
        p.table("Firing alerts", "alertname severity", p.Column("Alerts", _alerts), sort="severity",
            empty="No alert fires, as far as is known.", w=9, h=9),
        p.table("Suites that failed", "suite source", p.Column("Verdict", _failed, hidden=True),
            p.Column("Ended", f"{_ended} {_failed}", "dateTimeFromNow"),
            links=(p.details(Uid.SUITES, "suite"), p.page("suite", "suite_id")), sort="suite",
            empty="No suite has failed, as far as is known.", w=9),
        p.timeline("Sources", {_SOURCE: q.either(_refused, q.each(c.SOURCE_UP))}, named=s.SOURCE,
            answers="SourceDown CredentialsRefused", w=6),
        p.table("Least available", "target kind source",
            p.Column("Up", f"bottomk({q.SOME}, {q.available()})", "percentunit", (), s.ALL_IS_WELL),
            links=_LINKS, sort="A", w=9),
        p.heading("Tests that begin soon"),
        p.table("Preflights", "preflight", p.Column("Fleet", _fitness, named=s.FITNESS),
            p.Column("Now", q.each(own.PREFLIGHT_DUE), named=s.DUE),
            p.Column("Window", f"{q.each(own.PREFLIGHT_WINDOW_START)} * 1000", "dateTimeFromNow"),
            p.Column("Test", f"{q.each(own.PREFLIGHT_WINDOW_END)} * 1000", "dateTimeFromNow"),
            p.Column("Fit agents", _fit), p.Column("Unfit", _unfit, steps=s.NONE_IS_BETTER),
            p.Column("Users", q.each(own.PREFLIGHT_USERS)),
            sort="D", empty="No preflight is configured.", answers="NotFit", w=16),
        p.table("Checks of the preflights", "preflight check",
            p.Column("Result", _checks, named=s.CHECK), sort="A",
            empty="No check is decided.", w=8),
        p.heading("Over time"),
        p.series("Agents by state",
            {
                state.word: f"sum({q.states(AGENT)} == bool {state.value})"
                for state in reversed(s.MACHINE)
            },
            stacked=True, named=s.MACHINE),
        p.series("Share of agents unreachable",
            {_SOURCE: q.by("avg", c.COMMON_LABELS, f"{q.each(c.AGENT_UP)} == bool 0")},
            "percentunit", steps=s.above(limits.agents_down_ratio, s.RED, s.GREEN),
            answers="HalfOfAgentsDown"),
        p.series("Machines down or outdated",
            {"{{kind}}": q.by("sum", ("kind",), f"{q.states()} >= bool {Code.OUTDATED}")}),
        p.series("Runs in flight over time",
            {
                "{{phase}}": q.by("sum", ("phase",), q.each(c.RUN_PHASE, 'phase!="ended"')),
                "{{what}}": q.labelled(f"sum({q.each(c.SUITE_RUNNING)})", "what", "suites"),
            },
            named=s.PHASE),
        p.heading("Clocks, versions and capacity"),
        p.table("Clocks off the most", "target kind source",
            p.Column("Off by", _off, "s", (), s.above(limits.clock_skew, s.RED)),
            p.Column("It is", f"sgn({_clocks}) and {_off}", named=s.DIRECTION),
            p.Column("State", f"{q.states()} and {q.MACHINE} ({_off})", named=s.MACHINE),
            links=_LINKS, w=14),
        p.table("Versions in use", "component version",
            p.Column("Machines", q.by("count", _version, q.either(*_versions.values()))),
            p.Column("Outdated", _too_old, steps=s.NONE_IS_BETTER), sort="version", w=10),
        p.series("Users that the fleet can take",
            {
                "all agents": f"sum({_users})",
                "agents that are up": f"sum({_usable})",
                "agents that are free": f"sum({_usable} unless {_of_agent} ({_work} == 1))",
                "private locations": f"sum({q.each(c.LOCATION_AGENTS_UP)} * {_engines})",
            }),
        p.series("Share of agents at work", {_SOURCE: q.by("avg", c.COMMON_LABELS, _work)},
            "percentunit"),
        p.text("How to read this", h=5),
    )  # fmt: skip
    return Dashboard(
        uid=Uid.OVERVIEW,
        title="Load test fleet: overview",
        description="Do I have to act? On which machine, suite or source, and since when?",
        marks=(SUITES, RUNS, STARTS | {"enable": False}, RELOADS),
        panels=panels,
    )
