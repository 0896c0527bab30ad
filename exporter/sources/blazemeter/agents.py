"""The task `agents`: the agents ("ships") of all private locations, one call per workspace.

An agent is judged by the age of its heartbeat and by nothing else: `state` keeps its last value
after an agent died, so it only tells what a living one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState
from exporter.sources.base import Explanation, Poll
from exporter.sources.blazemeter.calls import PollCalls
from exporter.sources.blazemeter.memory import MOST, AgentsMemory
from exporter.sources.blazemeter.replies import Envelope, Location, Ship, epoch
from exporter.sources.decode import older, redacted_reply, text
from exporter.sources.memory import known_readings, remembered


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.sources.blazemeter.client import BlazeMeterClient


TASK = "agents"

#: The states seen in the wild; there is no documented list.
_STATES = frozenset({"idle", "running", "empty"})

_BUSY = "running"


class _LocatedShip(msgspec.Struct, frozen=True, kw_only=True):
    """An agent with the private location it belongs to."""

    ship: Ship
    location_id: str
    location: str


class AgentInventory:
    """The agents of one source from poll to poll.

    Attributes:
        location_names: Of private locations, by the id that runs use.
    """

    def __init__(self, client: BlazeMeterClient) -> None:
        self.location_names: dict[str, str] = {}
        self._settings = client.settings
        self._client = client
        self._clock = client.context.clock
        self._surprise = client.surprise
        self._agents = {agent.agent_id: agent for agent in known_readings(client, TASK, Agent)}
        self._located: dict[str, _LocatedShip] = {}  # of those read since the start
        self._members: dict[int, tuple[str, ...]] = {}  # agents by workspace
        if (memory := remembered(client, TASK, AgentsMemory)) is not None:
            self.location_names |= memory.location_names
            self._members |= {
                workspace: members
                for workspace, members in memory.members.items()
                if workspace in self._settings.workspaces
            }

    async def poll(self) -> Poll:
        """Read all agents.

        A workspace that could not be read keeps its agents as they were last seen, until that is
        too long ago.

        Raises:
            PollError: Not one workspace could be read.
        """
        calls = PollCalls()
        read = await calls.by_workspace(self._settings.workspaces, self._client.locations)
        calls.check()
        located: dict[str, _LocatedShip] = {}
        for workspace, locations in read.items():
            found = self._locate(locations)
            self._members[workspace] = tuple(found)
            # A location that belongs to two workspaces comes with both: the first one counts.
            located |= {each: ship for each, ship in found.items() if each not in located}
        carried = self._carried(self._members.keys() - read.keys())
        fresh = {ship_id: self._judge(ship) for ship_id, ship in located.items()}
        self._located = {
            each: ship for each, ship in self._located.items() if each in carried
        } | located
        self._agents = carried | fresh
        wanted = (
            agent for agent in self._agents.values() if self._settings.wanted(TASK, agent.agent)
        )
        memory = AgentsMemory(
            version=1,
            location_names=dict(list(self.location_names.items())[-MOST:]),
            members=self._members,
        )
        return Poll(
            readings=tuple(wanted),
            failures=tuple(calls.failures),
            memory=msgspec.json.encode(memory),
        )

    async def explain(self, agent_id: str) -> Explanation:
        """Read one agent now, through the list of its location.

        Raises:
            LookupError: There is no such agent.
            PollError: The call failed.
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
        return Explanation(
            reading=self._judge(msgspec.structs.replace(known, ship=ship)),
            reply=redacted_reply(bodies[-1], Envelope[tuple[Ship, ...]]),
        )

    def _locate(self, locations: Iterable[Location]) -> dict[str, _LocatedShip]:
        """Return the agents of some locations by id, and note the locations' names."""
        found: dict[str, _LocatedShip] = {}
        for location in locations:
            location_id = text(location.id)
            key = f"harbor-{location_id}" if location_id else ""  # as runs name it
            name = location.name or key
            if key and location.name:
                self.location_names[key] = name
            for ship in location.ships or ():
                ship_id = text(ship.id)
                if not ship_id:
                    self._surprise("missing_field")
                    continue
                located = _LocatedShip(ship=ship, location_id=location_id, location=name)
                found.setdefault(ship_id, located)
        return found

    def _judge(self, located: _LocatedShip) -> Agent:
        """Return the reading of an agent as it is now."""
        ship, now = located.ship, self._clock.now()
        ship_id = text(ship.id)
        heartbeat = epoch(ship.last_heart_beat, self._surprise)
        up = _is_up(heartbeat, now=now.unix, max_age=self._settings.heartbeat_max_age)
        busy = None
        if ship.state is not None and up is not False:
            busy = ship.state == _BUSY
            if ship.state not in _STATES:
                self._surprise("enum")
        version, minimum = ship.installed_version or "", self._settings.min_agent_version
        before = self._agents.get(ship_id)
        last_up = before.last_up_timestamp_seconds if before else None
        return Agent(
            agent_id=ship_id,
            agent=ship.name or ship_id,
            location=located.location,
            last_up_timestamp_seconds=now.unix if up else last_up,
            state=AgentState(
                read_at=now,
                up=up,
                reason=Reason.NO_HEARTBEAT if up is False else None,
                outdated=older(version, minimum) if minimum else None,
                version=version,
                busy=busy,
                heartbeat_timestamp_seconds=heartbeat,
            ),
        )

    def _carried(self, workspaces: set[int]) -> dict[str, Agent]:
        """Return the agents of workspaces that were not read, as they were last seen."""
        not_before = self._clock.monotonic() - self._settings.stale_after_for(TASK)
        carried: dict[str, Agent] = {}
        for workspace in sorted(workspaces):
            for each in self._members[workspace]:
                agent = self._agents.get(each)
                if agent and agent.state and agent.state.read_at.monotonic >= not_before:
                    carried[each] = agent
        return carried


def _is_up(heartbeat: float | None, *, now: float, max_age: float) -> bool | None:
    """Compare the heartbeat's age with the limit.

    The age compares two clocks. A heartbeat a little in the future is a fresh one; one farther
    ahead than the limit shows that the clocks disagree too much to tell anything.
    """
    if heartbeat is None or heartbeat - now > max_age:
        return None
    return now - heartbeat <= max_age
