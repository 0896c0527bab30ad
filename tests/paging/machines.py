"""Troubles of machines, portals and credentials, as one exporter sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.simulator.vendor import Fault
from tests.paging.pager import NEW, RESOLVED, page, work
from tests.paging.scenario import PROMETHEUS, Stage, scenario


if TYPE_CHECKING:
    from exporter.simulator.server import Simulation


_LIST = frozenset({"getMeasuringAgents"})


@scenario(agents=30)
async def canary(it: Stage) -> None:
    """Change nothing; other scenarios take its agents down to see that time has passed."""


@scenario(agents=3)
async def agent_down(it: Stage) -> None:
    """Take an agent down: one page, one resolve."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=3)
async def agent_outdated(it: Stage) -> None:
    """An agent that is too old is not unreachable."""
    await it.change("agents", "42", outdated=True)
    await it.told(page(NEW, "AgentOutdated", "42"))
    await it.change("agents", "42", outdated=False)
    await it.told(page(RESOLVED, "AgentOutdated", "42"))


def _outdated(simulation: Simulation) -> None:
    simulation.fleet.agents["42"].outdated = True


@scenario(
    agents=3,
    prepare=_outdated,
    preflights={name: {"agents": {"source": "begins_soon"}} for name in ("nightly", "weekly")},
)
async def begins_soon(it: Stage) -> None:
    """Page for each unfit test, beside the page of the cause."""
    unfit = [f"begins_soon/{name}" for name in ("nightly", "weekly")]
    not_fit = [page(NEW, "NotFit", name) for name in unfit]
    await it.told(page(NEW, "AgentOutdated", "42"), *not_fit)
    await it.silence()
    await it.change("agents", "42", outdated=False)
    ended = [page(RESOLVED, "NotFit", name) for name in unfit]
    await it.told(page(RESOLVED, "AgentOutdated", "42"), *ended)


@scenario(agents=12)
async def most_agents_down(it: Stage) -> None:
    """Many agents down for one reason: one page, one resolve."""
    many = [str(41 + index) for index in range(9)]
    await it.change("agents", *many, up=False)
    await it.told(page(NEW, "HalfOfAgentsDown"))
    await it.change("agents", *many, up=True)
    await it.told(page(RESOLVED, "HalfOfAgentsDown"))


@scenario(agents=3)
async def agent_then_portal(it: Stage) -> None:
    """Page for a portal that fails while an agent's page is open."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    it.obey(fault=Fault.UNAVAILABLE)
    await it.told(page(NEW, "SourceDown"))
    await it.silence()
    it.obey(fault=Fault.NONE)
    await it.told(page(RESOLVED, "SourceDown"))
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=3)
async def agent_then_token(it: Stage) -> None:
    """Page for refused credentials while an agent's page is open."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    it.obey(token="another")
    await it.told(page(NEW, "CredentialsRefused"))
    await it.silence()


@scenario(tasks=("agents", "recorders"), agents=3, recorders=1)
async def list_fails(it: Stage) -> None:
    """Keep an agent's page open while only the list fails, and page for the failing task."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    it.obey(fault=Fault.UNAVAILABLE, fault_on=_LIST)
    await it.told(page(NEW, "TaskFailing", "agents"))
    await it.silence()
    it.obey(fault=Fault.NONE)
    await it.told(page(RESOLVED, "TaskFailing", "agents"))
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(tasks=("agents", "recorders"), agents=3, recorders=1)
async def inventory_emptied(it: Stage) -> None:
    """Keep an agent's page open while the portal suddenly lists no agents, and page for that."""
    agents = it.simulation.fleet.agents
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    kept = dict(agents)
    await it.between_polls(agents.clear)
    await it.told(page(NEW, "NothingKnown", "agent"))
    await it.silence()
    agents.update(kept)
    await it.told(page(RESOLVED, "NothingKnown", "agent"))
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=3, source={"include": {"agents": "mistyped.*"}})
async def filter_matches_nothing(it: Stage) -> None:
    """Page for a filter that matches nothing."""
    await it.told(page(NEW, "NothingKnown", "agent"))


@scenario(agents=3)
async def agent_deleted(it: Stage) -> None:
    """End the page of an agent that the vendor no longer lists beside others."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    await it.between_polls(lambda: it.simulation.fleet.delete("agents", "42"))
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=3)
async def agent_set_inactive(it: Stage) -> None:
    """End the page of an agent that is set inactive."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    await it.change("agents", "42", active=False)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=12, source={"concurrency": 12, "interval": "2s", "stale_after": "10s"})
async def portal_slow(it: Stage) -> None:
    """Report a portal that takes 0.75 to 1.15 times the time-out as slow, and no agent as down."""
    it.obey(delay=0.675, delay_spread=0.36)
    await it.told(work(NEW, "VendorSlow"))
    await it.silence()
    it.obey(delay=0.0, delay_spread=0.0)
    await it.told(work(RESOLVED, "VendorSlow"))


@scenario(tasks=("agents", "clusters"), agents=6, controllers=1, clusters=1, cluster_members=3)
async def member_down(it: Stage) -> None:
    """Page once for an agent that is down, and not for the cluster's member as well."""
    (cluster,) = it.simulation.fleet.clusters.values()
    agent = str(next(iter(cluster.members.values())))
    await it.change("agents", agent, up=False)
    await it.told(page(NEW, "AgentUnreachable", agent))
    await it.change("agents", agent, up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", agent))


@scenario(tasks=("agents", "clusters"), agents=6, controllers=1, clusters=1, cluster_members=3)
async def member_unusable(it: Stage) -> None:
    """Page for a member that is up as an agent, but that its controller cannot use."""
    (cluster,) = it.simulation.fleet.clusters.values()
    agent = next(iter(cluster.members.values()))
    await it.change("clusters", str(cluster.cluster_id), failing=[agent])
    await it.told(page(NEW, "MemberUnreachable", str(agent)))
    await it.change("clusters", str(cluster.cluster_id), failing=[])
    await it.told(page(RESOLVED, "MemberUnreachable", str(agent)))


@scenario(tasks=("recorders",), recorders=1)
async def recorder_down(it: Stage) -> None:
    """A recorder wakes nobody up: tests run without it."""
    (one,) = it.simulation.fleet.recorders
    await it.change("recorders", one, up=False)
    await it.told(work(NEW, "RecorderUnreachable", one))
    await it.change("recorders", one, up=True)
    await it.told(work(RESOLVED, "RecorderUnreachable", one))


@scenario(agents=3, ways=(PROMETHEUS,))
async def agent_flaps(it: Stage) -> None:
    """Warn of an agent that goes up and down, but is never down long enough for a page."""
    it.expect(work(NEW, "AgentFlapping", "42"))
    for flap in range(12):
        await it.change("agents", "42", up=flap % 2 == 1)
        await it.polls(1)
    await it.as_expected()
    await it.told(work(RESOLVED, "AgentFlapping", "42"))
