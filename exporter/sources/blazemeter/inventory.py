"""The task `agents`: the private-location agents of all workspaces, one call for each of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.base import Explanation, Poll
from exporter.sources.blazemeter.agents import LocatedShip, locate, names_of, read_agent
from exporter.sources.blazemeter.cycle import Cycle
from exporter.sources.blazemeter.replies import ShipsReply, text
from exporter.sources.calls import fan_out
from exporter.sources.decode import redacted_reply


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.clock import Clock
    from exporter.fleet.readings import Agent
    from exporter.sources.blazemeter.client import BlazeMeterClient
    from exporter.sources.blazemeter.replies import Location
    from exporter.sources.blazemeter.settings import BlazeMeterSettings
    from exporter.sources.decode import Surprised


TASK = "agents"


class AgentInventory:
    """The agents of one source from poll to poll.

    Attributes:
        location_names: Of private locations, by the id that runs use.
    """

    def __init__(
        self,
        settings: BlazeMeterSettings,
        client: BlazeMeterClient,
        *,
        clock: Clock,
        surprise: Surprised,
    ) -> None:
        self.location_names: dict[str, str] = {}
        self._settings = settings
        self._client = client
        self._clock = clock
        self._surprise = surprise
        self._agents: dict[str, Agent] = {}
        self._located: dict[str, LocatedShip] = {}
        self._members: dict[str, tuple[str, ...]] = {}  # agents by workspace

    async def poll(self) -> Poll:
        """Read all agents.

        A workspace that could not be read keeps its agents as they were last seen, until that is
        too long ago.

        Raises:
            PollError: Not one workspace could be read.
        """
        cycle = Cycle(self._client)
        read: dict[str, tuple[Location, ...]] = {}
        # The first call of a cycle is alone.
        for workspaces in (self._settings.workspaces[:1], self._settings.workspaces[1:]):
            asks = {str(each): self._listing(each) for each in workspaces}
            read |= cycle.good(await fan_out(asks))
        cycle.check()
        located: dict[str, LocatedShip] = {}
        for workspace, locations in read.items():
            self.location_names.update(names_of(locations))
            found = locate(locations, self._surprise)
            self._members[workspace] = tuple(found)
            located |= {each: ship for each, ship in found.items() if each not in located}
        carried = self._carried(set(self._members) - set(read))
        fresh = {ship_id: self._read(ship) for ship_id, ship in located.items()}
        self._located = {
            **{each: self._located[each] for each in carried if each in self._located},
            **located,
        }
        self._agents = {**carried, **fresh}
        wanted = (
            agent for agent in self._agents.values() if self._settings.wanted(TASK, agent.agent)
        )
        return Poll(readings=tuple(wanted), failures=tuple(cycle.failures))

    async def explain(self, agent_id: str) -> Explanation:
        """Look at one agent now, through the list of its location.

        Raises:
            LookupError: There is no such agent.
            PollError: The look failed.
        """
        if not self._located:
            await self.poll()
        known = self._located.get(agent_id)
        if known is None or not known.location_id:
            raise LookupError(f"{TASK}: there is no {agent_id!r}")
        bodies: list[bytes] = []
        ships = await self._client.ships(known.location_id, seen=bodies.append)
        ship = next((ship for ship in ships if text(ship.id) == agent_id), None)
        if ship is None:
            raise LookupError(f"{TASK}: there is no {agent_id!r} any more")
        located = LocatedShip(
            ship_id=agent_id, ship=ship, location_id=known.location_id, location=known.location
        )
        return Explanation(
            reading=self._read(located), reply=redacted_reply(bodies[-1], ShipsReply)
        )

    def _listing(self, workspace: int) -> Callable[[], Awaitable[tuple[Location, ...]]]:
        return lambda: self._client.locations(workspace)

    def _read(self, located: LocatedShip) -> Agent:
        return read_agent(
            located,
            rules=self._settings,
            now=self._clock.now(),
            before=self._agents.get(located.ship_id),
            surprise=self._surprise,
        )

    def _carried(self, workspaces: set[str]) -> dict[str, Agent]:
        """Return the agents of workspaces that were not read, as they were last seen."""
        not_before = self._clock.monotonic() - self._settings.stale_after_for(TASK)
        known = (
            (each, self._agents[each])
            for workspace in sorted(workspaces)
            for each in self._members[workspace]
            if each in self._agents
        )
        return {
            each: agent
            for each, agent in known
            if agent.state is not None and agent.state.read_at.monotonic >= not_before
        }
