"""The dashboard about agents and controllers, in detail for a few machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.alerts.about import Uid
from exporter.alerts.machines import FLAPS
from exporter.alerts.recording import AGENT, CLUSTER, CONTROLLER, LABELS, MEMBER, RECORDER
from exporter.dashboards import panels as p
from exporter.dashboards import query as q
from exporter.dashboards import states as s
from exporter.dashboards.dashboard import RELOADS, STARTS, SUITES, Dashboard
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from exporter.alerts.recording import Machine
    from exporter.alerts.thresholds import Thresholds
    from exporter.metrics.catalogue import Family


_LEGENDS = {
    one: f"{{{{{one.name}}}}} ({{{{source}}}})" for one in (AGENT, CONTROLLER, CLUSTER, RECORDER)
}
_LEGENDS[MEMBER] = "{{agent}} in {{agent_cluster}} ({{source}})"
_AGENT = _LEGENDS[AGENT]

_links = (p.details(Uid.AGENTS, "agent"), p.page("agent", "agent_id"))
_controlled = f"{q.on((*c.COMMON_LABELS, 'cluster_id'))} group_left (controller)"
_load_factor = f"{q.each(c.CLUSTER_MEMBER_LOAD_FACTOR)} * {_controlled} {q.each(c.CLUSTER_INFO)}"
_changes = q.merged(f"changes({q.select(c.AGENT_UP)}[30m])")


def _over_time(machine: Machine, title: str, answers: str, **given: Any) -> p.Panel:
    queries = {_LEGENDS[machine]: q.worst(machine)}
    return p.timeline(title, queries, named=s.MACHINE, about="Over time", answers=answers, **given)


def _clocks(limits: Thresholds, machine: Machine, title: str, answers: str) -> p.Panel:
    queries = {_LEGENDS[machine]: q.highest(machine.family("CLOCK_DELTA"), signed=True)}
    steps = s.beyond(limits.clock_skew, s.RED, s.GREEN)
    return p.series(title, queries, "s", signed=True, steps=steps, about="Clocks", answers=answers)


def _listed(machine: Machine, *columns: p.Column) -> list[p.Column]:
    """Return columns restricted to the machines in the worst state."""
    few = f"and {q.on(machine.labels)} topk({q.MANY}, {q.states(machine)})"
    return [msgspec.structs.replace(one, query=f"{one.query} {few}") for one in columns]


def _state(limits: Thresholds, machine: Machine) -> tuple[p.Column, ...]:
    skew = s.beyond(limits.clock_skew, s.RED)
    return (
        p.Column("State", q.merged(q.states(machine), *LABELS), named=s.MACHINE),
        p.Column("Reason", q.each(machine.family("FAILURE")), hidden=True),
        p.Column("Since", f"{q.each(machine.family('CHANGED'))} * 1000", "dateTimeFromNow"),
        p.Column("Up", q.merged(q.available(machine), *LABELS), "percentunit", (), s.ALL_IS_WELL),
        p.Column("Clock", q.each(machine.family("CLOCK_DELTA")), "s", (), skew),
    )


def _now(
    limits: Thresholds, machine: Machine, labels: str, *columns: p.Column, **given: Any
) -> p.Panel:
    name, info = machine.name, q.facts(machine.family("INFO"), machine.labels, *labels.split())
    facts = p.Column("Facts", info, hidden=True)
    return p.table(
        f"{name.title()}s now",
        f"{name} source {labels} reason",
        *_listed(machine, *_state(limits, machine), facts, *columns),
        links=(p.details(Uid.AGENTS, name), p.page(machine.page, machine.page.id_field)),
        about="Now",
        w=24,
        **given,
    )


def _started(limits: Thresholds, start: Family) -> tuple[p.Column, p.Column]:
    steps = s.above(limits.agent_restarted, "text", s.BLUE)
    return (
        p.Column("Up for", f"time() - {q.each(start)}", "dtdurations", (), steps),
        p.Column("Restarts", q.merged(f"changes({q.select(start)}[$__range])")),
    )


def _limits(machine: Machine) -> tuple[p.Column, p.Column]:
    return (
        p.Column("Memory", q.each(machine.family("MEMORY_LIMIT")), "bytes"),
        p.Column("Access", q.each(machine.family("PROTECTED")), named=s.PROTECTED),
    )


def board(limits: Thresholds) -> Dashboard:
    """Return the dashboard, coloured by the alerts' thresholds."""
    panels = (
        _over_time(AGENT, "Agents", "AgentUnreachable AgentOutdated", w=24, h=9),
        _now(limits, AGENT, "version location", *_started(limits, c.AGENT_START),
            p.Column("Up or down", _changes, steps=s.above(FLAPS + 1, s.ORANGE)),
            answers="AgentRestarted AgentFlapping", h=9),
        _clocks(limits, AGENT, "Agents' clocks", "AgentClockSkew"),
        p.series("Agents' pings", {_AGENT: q.highest(c.AGENT_PING_DURATION)}, "s"),
        p.timeline("Agents at work", {_AGENT: q.highest(c.AGENT_BUSY)}, named=s.WORK),
        p.series("Age of heartbeats",
            {_AGENT: f"time() - ({q.highest(c.AGENT_HEARTBEAT, 'bottomk')})"}, "s"),
        p.table("Agents' limits", "agent source",
            *_listed(AGENT,
                p.Column("Users", q.each(c.AGENT_USERS_LIMIT)),
                p.Column("Job time", q.each(c.AGENT_JOB_DURATION_LIMIT), "dtdurations"),
                *_limits(AGENT),
                p.Column("Free disk", q.each(c.AGENT_DISK_FREE), "bytes")),
            links=_links, sort="agent", answers="AgentUnprotected"),
        p.series("Jobs on the agents", {"{{state}}": q.by("sum", ("state",), q.each(c.AGENT_JOBS))},
            stacked=True, named=s.JOB),
        p.table("Private locations", "location_name source",
            p.Column("Agents up", q.each(c.LOCATION_AGENTS_UP), steps=s.SOME_IS_WELL),
            p.Column("Agents", q.each(c.LOCATION_AGENTS)),
            p.Column("Engines per agent", q.each(c.LOCATION_SLOTS)),
            p.Column("Users per engine", q.each(c.LOCATION_THREADS_PER_ENGINE)),
            p.Column("Use", q.each(c.LOCATION_ACTIVE), named=s.USE),
            links=(p.page("location", "location_id"),), sort="A", w=24, h=6,
            answers="LocationWithoutAgents"),
        p.heading("Controllers and their clusters"),
        _over_time(CONTROLLER, "Controllers", "ControllerUnreachable ControllerOutdated", w=8),
        _over_time(CLUSTER, "Clusters", "ClusterUnusable ClusterOutdated", w=8),
        _over_time(MEMBER, "Cluster members", "MemberUnreachable MemberOutdated", w=8),
        _now(limits, CONTROLLER, "version",
            *_started(limits, c.CONTROLLER_START), *_limits(CONTROLLER),
            answers="ControllerRestarted ControllerFlapping", h=6),
        p.table("Clusters and their members now", "agent agent_cluster controller source reason",
            *_listed(MEMBER,
                *_state(limits, MEMBER),
                p.Column("Load factor", _load_factor),
                p.Column("Sampling", q.each(c.CLUSTER_MEMBER_SAMPLING_GRANULARITY), "s")),
            links=(*_links, p.page("cluster", "cluster_id")), w=24, h=9),
        _clocks(limits, CONTROLLER, "Controllers' clocks", "ControllerClockSkew"),
        _clocks(limits, MEMBER, "Members' clocks", "MemberClockSkew"),
        p.series("Pings of controllers and clusters",
            {
                _LEGENDS[CONTROLLER]: q.highest(c.CONTROLLER_PING_DURATION),
                "{{agent_cluster}} ping ({{source}})": q.highest(c.CLUSTER_PING_DURATION),
                "{{agent_cluster}} connect ({{source}})": q.highest(c.CLUSTER_CONNECT_DURATION),
            },
            "s", w=24),
        p.heading("Proxy recorders and certificates"),
        _over_time(RECORDER, "Recorders", "RecorderUnreachable RecorderOutdated"),
        _clocks(limits, RECORDER, "Recorders' clocks", "RecorderClockSkew"),
        _now(limits, RECORDER, "version", *_limits(RECORDER),
            p.Column("Recording", q.each(c.RECORDER_RECORDING), named=s.RECORDING),
            p.Column("Elements", q.each(c.RECORDER_RECORDED_ELEMENTS)),
            answers="RecorderRestarted RecorderFlapping", h=6),
        p.table("Client certificates", "certificate host source",
            p.Column("Expires in", f"{q.each(c.CERTIFICATE_NOT_AFTER)} - time()", "dtdurations",
                (), s.expiring(limits.certificate_expiry)),
            p.Column("Use", q.each(c.CERTIFICATE_ACTIVE), named=s.CERTIFICATE), sort="A", w=24, h=6,
            answers="CertificateExpiring"),
    )  # fmt: skip
    return Dashboard(
        uid=Uid.AGENTS,
        title="Load test fleet: agents and controllers",
        description="The state of machines now and over time, and their limits.",
        variables={
            "agent": c.AGENT_INFO,
            "controller": c.CONTROLLER_INFO,
            "agent_cluster": c.CLUSTER_INFO,
            "recorder": c.RECORDER_INFO,
        },
        marks=(SUITES, STARTS, RELOADS),
        panels=panels,
    )
