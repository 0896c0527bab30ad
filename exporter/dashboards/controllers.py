"""The panels on cluster controllers, their clusters and these clusters' members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.dashboards.charts import TimeSeries
from exporter.dashboards.dashboard import link
from exporter.dashboards.machine_panels import MachinePanels
from exporter.dashboards.machines import CONTROLLER, MEMBER
from exporter.dashboards.panels import Panel, Target
from exporter.dashboards.tables import Column, Table
from exporter.dashboards.uids import AGENTS
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS


if TYPE_CHECKING:
    from exporter.dashboards.dashboard import Context
    from exporter.dashboards.query import Scope


def rows(scope: Scope, context: Context) -> tuple[tuple[Panel, ...], ...]:
    """Return the panels, row by row."""
    controllers = MachinePanels(machine=CONTROLLER, scope=scope, context=context)
    members = MachinePanels(machine=MEMBER, scope=scope, context=context)
    return (
        (controllers.states("Controllers"), members.states("Cluster members")),
        (_facts(controllers),),
        (_members(members),),
        (
            controllers.clocks("Controllers' clocks", against="the portal's"),
            members.clocks("Members' clocks", against="their controller's"),
        ),
        (_pings(scope), _cluster_pings(scope)),
    )


def _facts(panels: MachinePanels) -> Panel:
    return Table(
        title="Controllers now",
        description="What is known of each controller now: why it is not up, its version, its"
        " clock, how often it was started in the time shown. The name shows this controller alone."
        f" From `{c.CONTROLLER_INFO.name}` and its like.",
        columns=(*panels.facts("version"), *panels.limits()),
        labels={
            "controller": "Controller",
            "source": "Source",
            "version": "Version",
            "reason": "Reason",
        },
        hidden=("provider",),
        links={"controller": link(AGENTS, source="source", controller="controller")},
        sort="-Value #A",
        height=6,
    )


def _members(panels: MachinePanels) -> Panel:
    scope = panels.scope
    cluster = (*COMMON_LABELS, "cluster_id")
    factor = (
        f"{scope.each(c.CLUSTER_MEMBER_LOAD_FACTOR)}"
        f" * on ({', '.join(cluster)}) group_left (controller) {scope.each(c.CLUSTER_INFO)}"
    )
    return Table(
        title="Clusters and their members now",
        description="Which clusters each agent belongs to, under which controller, and whether the"
        " controller could use it: it has to connect, act and reply well. From"
        f" `{c.CLUSTER_MEMBER_UP.name}` and its like.",
        columns=(
            panels.state(),
            panels.reason(),
            Column(title="Load factor", expression=factor, unit="none"),
            panels.clock(),
            Column(
                title="Sampling",
                expression=scope.each(c.CLUSTER_MEMBER_SAMPLING_GRANULARITY),
                unit="s",
            ),
        ),
        labels={
            "agent": "Agent",
            "agent_cluster": "Cluster",
            "controller": "Controller",
            "source": "Source",
            "reason": "Reason",
        },
        hidden=("provider", "cluster_id", "agent_id", "member_id"),
        links={"agent": link(AGENTS, source="source", agent="agent")},
        sort="-Value #A",
    )


def _pings(scope: Scope) -> Panel:
    return TimeSeries(
        title="Controllers' pings",
        description="How long the portal's call to each controller took. Steady is well. From"
        f" `{c.CONTROLLER_PING_DURATION.name}`.",
        targets=(Target(scope.each(c.CONTROLLER_PING_DURATION), CONTROLLER.legend),),
        unit="s",
    )


def _cluster_pings(scope: Scope) -> Panel:
    return TimeSeries(
        title="Clusters' pings",
        description="How long it took to ping all members of each cluster, and for the controller"
        " to connect to them alone. Steady is well; a member that hangs makes both long. From"
        f" `{c.CLUSTER_PING_DURATION.name}` and `{c.CLUSTER_CONNECT_DURATION.name}`.",
        targets=(
            Target(scope.each(c.CLUSTER_PING_DURATION), "{{agent_cluster}} ping ({{source}})"),
            Target(
                scope.each(c.CLUSTER_CONNECT_DURATION), "{{agent_cluster}} connect ({{source}})"
            ),
        ),
        unit="s",
    )
