"""Agents and controllers: everything about a few machines, or one."""

from __future__ import annotations

from exporter.alerts.about import Uid
from exporter.alerts.machines import FLAPS
from exporter.dashboards import states
from exporter.dashboards.dashboard import Dashboard, reloads, restarts, suite_runs
from exporter.dashboards.machines import machines
from exporter.dashboards.panels import Panels, Row, StateTimeline, TimeSeries
from exporter.dashboards.query import Scope, by, on
from exporter.dashboards.tables import Column, Table, link
from exporter.metrics import catalogue as c


_scope = Scope((*c.COMMON_LABELS, "agent", "controller", "agent_cluster", "recorder"))
_agents, _controllers, _clusters, _members, _recorders = machines(_scope)

_AGENTS: Panels = {
    "Agents": _agents.over_time(width=24, height=9),
    "Agents now": _agents.now(
        "how often it was started in the time shown, blue is a start a short while ago, and how"
        " often it went up or down within 30 minutes, orange is too often",
        *_agents.starts(),
        Column(
            "Up or down in 30m",
            by("max", _agents.labels, f"changes({_agents.select('UP')}[30m])"),
            steps=states.above(FLAPS + 1, states.ORANGE),
        ),
        labels=("location",),
        height=9,
    ),
    "Agents' clocks": _agents.clocks(against="the portal's"),
    "Agents' pings": TimeSeries(
        "How long the vendor's call to each agent took. Steady is well; what rises announces an"
        " overloaded host or network.",
        queries={_agents.legend: _scope.each(c.AGENT_PING_DURATION)},
        unit="s",
    ),
    "Agents at work": StateTimeline(
        "Whether each agent executes something, where the vendor tells it (BlazeMeter, Eggplant)."
        " Neither is bad.",
        queries={_agents.legend: _scope.each(c.AGENT_BUSY)},
        named=states.WORK,
    ),
    "Age of heartbeats": TimeSeries(
        "How long ago the vendor last heard of each agent (BlazeMeter). Seconds are well; an agent"
        " whose heartbeat is older than `heartbeat_max_age` is unreachable.",
        queries={_agents.legend: f"time() - {_scope.each(c.AGENT_HEARTBEAT)}"},
        unit="s",
    ),
    "Agents' limits": Table(
        "What each agent may take, whether it demands a token, and the free space of its host's"
        " fullest disk (BlazeMeter); unprotected ones can be used by anyone who reaches them."
        f" From `{c.AGENT_USERS_LIMIT.name}` and its like.",
        columns=(
            Column("Users", _scope.each(c.AGENT_USERS_LIMIT), limit=True),
            Column(
                "Job duration",
                _scope.each(c.AGENT_JOB_DURATION_LIMIT),
                unit="dtdurations",
                limit=True,
            ),
            *_agents.limits(),
            Column("Free disk", _scope.each(c.AGENT_DISK_FREE), unit="bytes"),
        ),
        labels=("agent", "source"),
        hidden=("provider", "agent_id"),
        sort="agent",
        width=12,
        height=8,
        answers=("LoadFleetAgentUnprotected",),
    ),
    "Jobs on the agents": TimeSeries(
        "Jobs that the agents keep, by state. Invalid ones cannot run. Needs the task `jobs` (Real"
        " Load), which is off by default.",
        queries={"{{state}}": by("sum", ("state",), _scope.each(c.AGENT_JOBS))},
        stacked=True,
        named=states.JOB,
    ),
    "Private locations": Table(
        "How many agents each location has, how many of them are up, and what one can run"
        " (BlazeMeter). Without an agent that is up no test can start there; one that is disabled"
        f" is not judged. From `{c.LOCATION_AGENTS_UP.name}` and its like.",
        columns=(
            Column("Agents up", _scope.each(c.LOCATION_AGENTS_UP), steps=states.SOME_IS_WELL),
            Column("Agents", _scope.each(c.LOCATION_AGENTS)),
            Column("Engines per agent", _scope.each(c.LOCATION_SLOTS)),
            Column("Users per engine", _scope.each(c.LOCATION_THREADS_PER_ENGINE)),
            Column("Use", _scope.each(c.LOCATION_ACTIVE), named=states.USE),
        ),
        labels=("location_name", "source"),
        hidden=("provider", "location_id"),
        sort="Value #A",
        height=6,
        answers=("LoadFleetLocationWithoutAgents",),
    ),
}

_load_factor = (
    f"{_scope.each(c.CLUSTER_MEMBER_LOAD_FACTOR)} * {on((*c.COMMON_LABELS, 'cluster_id'))}"
    f" group_left (controller) {_scope.each(c.CLUSTER_INFO)}"
)
_CONTROLLERS: Panels = {
    "Controllers and their clusters": Row(),
    "Controllers": _controllers.over_time(width=8),
    "Clusters": _clusters.over_time(width=8, down="Unusable"),
    "Cluster members": _members.over_time(width=8),
    "Controllers now": _controllers.now(
        "how often it was started in the time shown",
        *_controllers.starts(),
        *_controllers.limits(),
    ),
    "Clusters and their members now": Table(
        "Which clusters each agent belongs to, under which controller, and whether the controller"
        f" could use it: it has to connect, act and reply well. From `{c.CLUSTER_MEMBER_UP.name}`"
        " and its like.",
        columns=(
            Column("State", _members.codes(), named=states.MACHINE),
            Column("Reason", _scope.each(c.CLUSTER_MEMBER_FAILURE), hidden=True),
            Column("Load factor", _load_factor),
            _members.clock(),
            Column("Sampling", _scope.each(c.CLUSTER_MEMBER_SAMPLING_GRANULARITY), unit="s"),
        ),
        labels=("agent", "agent_cluster", "controller", "source", "reason"),
        hidden=("provider", "cluster_id", "agent_id", "member_id"),
        links={"agent": link(Uid.AGENTS, "agent")},
    ),
    "Controllers' clocks": _controllers.clocks(against="the portal's"),
    "Members' clocks": _members.clocks(against="their controller's"),
    "Pings of controllers and clusters": TimeSeries(
        "How long the portal's call to each controller took, how long it took to ping all members"
        " of each cluster, and for the controller to connect to them alone. Steady is well; a"
        " member that hangs makes the latter two long.",
        queries={
            _controllers.legend: _scope.each(c.CONTROLLER_PING_DURATION),
            "{{agent_cluster}} ping ({{source}})": _scope.each(c.CLUSTER_PING_DURATION),
            "{{agent_cluster}} connect ({{source}})": _scope.each(c.CLUSTER_CONNECT_DURATION),
        },
        unit="s",
        width=24,
    ),
}

_RECORDERS: Panels = {
    "Proxy recorders and certificates": Row(),
    "Recorders": _recorders.over_time(),
    "Recorders' clocks": _recorders.clocks(against="the portal's"),
    "Recorders now": _recorders.now(
        "what it records",
        *_recorders.limits(),
        Column("Recording", _scope.each(c.RECORDER_RECORDING), named=states.RECORDING),
        Column("Elements", _scope.each(c.RECORDER_RECORDED_ELEMENTS)),
    ),
    "Client certificates": Table(
        "How long each client certificate that recorders present is still good. Red has expired,"
        " orange expires soon. Needs the task `certificates` (Real Load), which is off by default."
        f" From `{c.CERTIFICATE_NOT_AFTER.name}`.",
        columns=(
            Column(
                "Expires in",
                f"{_scope.each(c.CERTIFICATE_NOT_AFTER)} - time()",
                unit="dtdurations",
                steps=lambda limits: states.expiring(limits.certificate_expiry),
            ),
            Column("Use", _scope.each(c.CERTIFICATE_ACTIVE), named=states.CERTIFICATE),
        ),
        labels=("certificate", "host", "source"),
        hidden=("provider", "certificate_id"),
        sort="Value #A",
        height=6,
        answers=("LoadFleetCertificateExpiring",),
    ),
}

DASHBOARD = Dashboard(
    uid=Uid.AGENTS,
    title="Load test fleet: agents and controllers",
    description="How are these machines now and over the day, and what limits them?",
    variables={
        "agent": c.AGENT_INFO,
        "controller": c.CONTROLLER_INFO,
        "agent_cluster": c.CLUSTER_INFO,
        "recorder": c.RECORDER_INFO,
    },
    annotations=(suite_runs(_scope), restarts(_scope), reloads(_scope)),
    sections=(_AGENTS, _CONTROLLERS, _RECORDERS),
)
