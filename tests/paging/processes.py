"""Several exporters of one source, and exporters that move, start anew or die."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from exporter.sharding import Shard
from tests.paging.pager import NEW, RESOLVED, page, work
from tests.paging.scenario import BUILT_IN, PAIR, PROMETHEUS, Stage, scenario
from tests.support.pair import samples
from tests.support.processes import fetch


if TYPE_CHECKING:
    from tests.paging.world import Exporter


#: An address at which nothing listens.
_NOWHERE = {"url": "http://127.0.0.1:9/RemoteUserAPI"}


@scenario(agents=3, ways=(PROMETHEUS,), exporters=("main", "replica"), at={"replica": _NOWHERE})
async def half_lost(it: Stage) -> None:
    """Warn, but do not page, when one of two exporters cannot reach the portal; hide no page."""
    await it.told(work(NEW, "SourceUnreachable", it.world.exporters["replica"].target))
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=3, ways=(PROMETHEUS,), exporters=("main", "replica"))
async def pair(it: Stage) -> None:
    """Page once, with one line, for an agent that two exporters watch."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=16, ways=(PROMETHEUS,), exporters=("shard-0", "shard-1"))
async def shards(it: Stage) -> None:
    """Count half of the agents over all shards; most of a shard's agents down is not half."""
    agents = it.simulation.fleet.agents
    shares = [
        [key for key in agents if Shard(index=index, total=2).owns("shards", "agents", key)]
        for index in range(2)
    ]
    for share in shares:
        for key in share[5:]:
            it.simulation.fleet.delete("agents", key)
    await it.polls(4)
    three, other = shares[0][:3], shares[1][0]
    await it.change("agents", *three, up=False)
    await it.told(page(NEW, "AgentUnreachable", *three))
    await it.change("agents", other, up=False)
    await it.told(page("update", "AgentUnreachable", *sorted([*three, other])))


@scenario(agents=3, ways=(PROMETHEUS,), job=True)
async def lost_scrapes(it: Stage) -> None:
    """Page although one scrape of seven is lost."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    await it.silence()
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=3, ways=(PROMETHEUS,), job=True)
async def moved(it: Stage) -> None:
    """Notify of nothing when the exporter goes on under another instance, as a new pod does."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    it.world.discover("moved", instance="second")
    await it.silence()
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=3, ways=(PROMETHEUS,), job=True)
async def vanished(it: Stage) -> None:
    """Page for an exporter that leaves the discovery, and keep its agent's page open."""
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    it.world.discover("vanished")
    await it.told(page(NEW, "ExporterGone", "source"))
    # The alert must go on although another exporter is gone too.
    await it.world.stages["killed"].gone.wait()
    await it.silence()
    it.world.discover("vanished", instance="first")
    await it.told(page(RESOLVED, "ExporterGone", "source"))
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(
    provider="eggplant", exporters=("killed",), eggplant_agents=3, source={"expected_agents": []}
)
async def restarted(it: Stage) -> None:
    """Keep the page of an agent open over a restart, although only the memory knows it."""
    exporter = it.world.exporters["killed"]
    agent = it.simulation.lab.names()[0]
    await it.polls()
    await it.change("agents", agent, up=False)
    await it.told(page(NEW, "AgentUnreachable", agent))
    await exporter.stop()
    await exporter.start()
    await it.silence()


@scenario(agents=3, exporters=("killed",))
async def killed(it: Stage) -> None:
    """Keep the page open when the exporter is killed, and page for the exporter.

    Prometheus pages for it. With built-in alerts, the missing heartbeat does.
    """
    exporter, pager = it.world.exporters["killed"], it.world.pagers[BUILT_IN]
    await it.change("agents", "42", up=False)
    await it.told(page(NEW, "AgentUnreachable", "42"))
    await it.world.stages["restarted"].over.wait()
    await exporter.stop(signal.SIGKILL)
    await it.told(prometheus=page(NEW, "ExporterGone", exporter.target))
    it.gone.set()
    assert 0 < (beats := pager.beats["killed"])
    await it.silence()
    assert beats == pager.beats["killed"]
    assert {"main", "pair"} == await it.world.heartbeats()
    firing = 'ALERTS{alertname="LoadFleetAgentUnreachable",source="killed",alertstate="firing"}'
    assert [1.0] == await it.world.prometheus.values(firing)
    await exporter.start()
    await it.told(prometheus=page(RESOLVED, "ExporterGone", exporter.target))
    await it.change("agents", "42", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "42"))


@scenario(agents=8, exporters=PAIR, source={"stale_after": "40s"})
async def failed_over(it: Stage) -> None:
    """Keep pages open when the leader of a pair dies, and notify of later changes.

    Agents go down before, while nobody polls, and afterwards; one recovers while nobody polls.
    """
    pair = [it.world.exporters[name] for name in PAIR]
    await it.change("agents", "41", up=False)
    await it.told(page(NEW, "AgentUnreachable", "41"))
    await it.change("agents", "44", outdated=True)
    await it.told(page(NEW, "AgentOutdated", "44"))
    (leader,) = [each for each in pair if await leads(each)]
    await leader.stop(signal.SIGKILL)
    it.portal.world.change("agents", "42", up=False)
    it.portal.world.change("agents", "44", outdated=False)
    await it.told(
        page("update", "AgentUnreachable", "41", "42"), page(RESOLVED, "AgentOutdated", "44")
    )
    await it.change("agents", "43", up=False)
    await it.told(page("update", "AgentUnreachable", "41", "42", "43"))
    await leader.start()
    await it.silence()
    assert not await leads(leader)
    await it.change("agents", "41", "42", "43", up=True)
    await it.told(page(RESOLVED, "AgentUnreachable", "41", "42", "43"))


async def leads(exporter: Exporter) -> bool:
    page = await fetch(f"http://{exporter.target}/metrics")
    return {1.0} == set(samples(page, r"loadfleet_exporter_leader\{").values())
