"""Agents and controllers: everything about a few machines, or one."""

from __future__ import annotations

from exporter.alerts.rule import PREFIX
from exporter.dashboards import controllers, marks, recorders, states
from exporter.dashboards.charts import StateTimeline, TimeSeries
from exporter.dashboards.dashboard import Context, Dashboard, Variable, link
from exporter.dashboards.machine_panels import MachinePanels
from exporter.dashboards.machines import AGENT
from exporter.dashboards.panels import Panel, Row, Target
from exporter.dashboards.query import Scope, by
from exporter.dashboards.tables import Column, Table
from exporter.dashboards.uids import AGENTS
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS


_scope = Scope(variables=(*COMMON_LABELS, "agent", "controller", "recorder"))


def agents(context: Context) -> Dashboard:
    """Make the dashboard."""
    panels = MachinePanels(machine=AGENT, scope=_scope, context=context)
    return Dashboard(
        uid=AGENTS,
        title="Load test fleet: agents and controllers",
        description="How are these machines now and over the day, and what limits them?",
        variables=(
            Variable(label="agent", title="Agent", metric=c.AGENT_INFO),
            Variable(label="controller", title="Controller", metric=c.CONTROLLER_INFO),
            Variable(label="recorder", title="Recorder", metric=c.RECORDER_INFO),
        ),
        annotations=(marks.suite_runs(_scope), marks.restarts(_scope), marks.reloads(_scope)),
        rows=(
            (panels.states("Agents", width=24, height=9),),
            (_facts(panels),),
            (panels.clocks("Agents' clocks", against="the portal's"), _pings()),
            (_work(), _heartbeats()),
            (_limits(panels), _jobs()),
            (Row(title="Controllers and their clusters"),),
            *controllers.rows(_scope, context),
            (Row(title="Proxy recorders and certificates"),),
            *recorders.rows(_scope, context),
        ),
    )


def _facts(panels: MachinePanels) -> Panel:
    return Table(
        title="Agents now",
        description="What is known of each agent now: why it is not up, its version, its clock,"
        " how often it was started in the time shown; blue is a start a short while ago. The name"
        f" shows this agent alone. From `{c.AGENT_INFO.name}` and its like.",
        columns=panels.facts("version", "location"),
        labels={
            "agent": "Agent",
            "source": "Source",
            "version": "Version",
            "location": "Location",
            "reason": "Reason",
        },
        hidden=("provider", "agent_id"),
        links={"agent": link(AGENTS, source="source", agent="agent")},
        sort="-Value #A",
        answers=panels.context.answers(f"{PREFIX}AgentRestarted"),
    )


def _pings() -> Panel:
    return TimeSeries(
        title="Agents' pings",
        description="How long the vendor's call to each agent took. Steady is well; what rises"
        f" announces an overloaded host or network. From `{c.AGENT_PING_DURATION.name}`.",
        targets=(Target(_scope.each(c.AGENT_PING_DURATION), AGENT.legend),),
        unit="s",
    )


def _work() -> Panel:
    return StateTimeline(
        title="Agents at work",
        description="Whether each agent executes something, where the vendor tells it (BlazeMeter,"
        f" Eggplant). Neither is bad. From `{c.AGENT_BUSY.name}`.",
        target=Target(_scope.each(c.AGENT_BUSY), AGENT.legend),
        named=states.WORK,
    )


def _heartbeats() -> Panel:
    return TimeSeries(
        title="Age of heartbeats",
        description="How long ago the vendor last heard of each agent (BlazeMeter). Seconds are"
        " well; an agent whose heartbeat is older than `heartbeat_max_age` is unreachable. From"
        f" `{c.AGENT_HEARTBEAT.name}`.",
        targets=(Target(f"time() - {_scope.each(c.AGENT_HEARTBEAT)}", AGENT.legend),),
        unit="s",
    )


def _limits(panels: MachinePanels) -> Panel:
    return Table(
        title="Agents' limits",
        description="What each agent may take, and whether it demands a token; unprotected ones"
        f" can be used by anyone who reaches them. From `{c.AGENT_USERS_LIMIT.name}` and its like.",
        columns=(
            Column(
                title="Users",
                expression=_scope.each(c.AGENT_USERS_LIMIT),
                unit="none",
                limit=True,
            ),
            Column(
                title="Job duration",
                expression=_scope.each(c.AGENT_JOB_DURATION_LIMIT),
                unit="dtdurations",
                limit=True,
            ),
            *panels.limits(),
        ),
        labels={"agent": "Agent", "source": "Source"},
        sort="agent",
        hidden=("provider", "agent_id"),
        width=12,
        height=8,
        answers=panels.context.answers(f"{PREFIX}AgentUnprotected"),
    )


def _jobs() -> Panel:
    return TimeSeries(
        title="Jobs on the agents",
        description="Jobs that the agents keep, by state. Invalid ones cannot run. Needs the task"
        f" `jobs` (Real Load), which is off by default. From `{c.AGENT_JOBS.name}`.",
        targets=(Target(by("sum", ("state",), _scope.each(c.AGENT_JOBS)), "{{state}}"),),
        unit="none",
        stacked=True,
        colours=states.JOB_COLOURS,
    )
