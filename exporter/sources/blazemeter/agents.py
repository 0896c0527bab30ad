"""The task `agents`: the private locations of each workspace, and their agents.

A filter of `include` or `exclude` for locations also applies to the locations' agents. A filter for
agents does not change the number of agents of a location.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Agent, Location
from exporter.sources.base import Explanation, Poll
from exporter.sources.blazemeter.calls import PollCalls
from exporter.sources.blazemeter.locations import (
    ListedLocation,
    homes,
    read_agent,
    read_location,
    read_row,
)
from exporter.sources.blazemeter.memory import MOST, AgentsMemory
from exporter.sources.blazemeter.operations import LOCATION, SHIPS
from exporter.sources.blazemeter.pages import Pages, read_pages
from exporter.sources.blazemeter.replies import ListReply
from exporter.sources.decode import redacted_reply, text
from exporter.sources.memory import known_readings, remembered


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from exporter.sources.blazemeter.client import BlazeMeterClient
    from exporter.sources.blazemeter.replies import Location as Row
    from exporter.sources.blazemeter.replies import Ship


TASK = "agents"

#: A target by its kind and id.
_Key = tuple[Kind, str]

_Readings = dict[_Key, Agent | Location]


class AgentInventory:
    """The locations and agents of one source, kept from poll to poll.

    Attributes:
        location_names: The names of private locations, by the id that runs use.
    """

    def __init__(self, client: BlazeMeterClient) -> None:
        self.location_names: dict[str, str] = {}
        self._settings = client.settings
        self._client = client
        self._clock = client.context.clock
        self._surprise = client.surprise
        self._readings: _Readings = {}
        self._homes: dict[str, ListedLocation] = {}  # by agent; only of agents read since the start
        self._members: dict[int, tuple[_Key, ...]] = {}  # by workspace
        self._polled = False
        self._recall()

    async def poll(self) -> Poll:
        """Read all locations and agents.

        If a workspace cannot be read, its last readings are kept until they are stale.

        Returns:
            The readings of all wanted locations and agents, and the calls that failed.

        Raises:
            PollError: No workspace could be read.
        """
        calls = PollCalls()
        self._polled = True
        read = await calls.by_workspace(self._settings.workspaces, self._read)
        calls.check()
        unread = set(self._settings.workspaces) - read.keys()
        cut_short = {workspace for workspace, pages in read.items() if pages.short or pages.cut}
        carried, missing = self._carried(unread), self._carried(cut_short)
        listed = {workspace: self._wanted(pages.items) for workspace, pages in read.items()}
        for workspace, rows in listed.items():
            # A target missing from a short list stays a member, so that its reading is carried over
            # if the next poll cannot read the list.
            old = self._members.get(workspace, ()) if workspace in cut_short else ()
            keys = (*_keys(rows), *(key for key in old if key in missing))
            self._members[workspace] = tuple(dict.fromkeys(keys))
        locations = tuple(chain.from_iterable(listed.values()))
        shown = carried | self._judge(locations)
        self._readings = missing | shown
        self._homes = {
            ship_id: home
            for ship_id, home in self._homes.items()
            if (Kind.AGENT, ship_id) in self._readings
        } | homes(locations)
        return Poll(
            readings=tuple(each for each in shown.values() if self._is_wanted(each)),
            failures=tuple(calls.failures),
            memory=msgspec.json.encode(self._memory()),
            inventory=(Kind.AGENT, Kind.LOCATION),
            incomplete=bool(cut_short),
        )

    async def explain_agent(self, agent_id: str) -> Explanation:
        """Return the reading of an agent from the list of its location, read now.

        Raises:
            LookupError: There is no such agent.
            PollError: The call failed.
        """
        await self._poll_once()
        home = self._homes.get(agent_id)
        if home is None or not home.location_id:
            raise LookupError(f"{TASK}: there is no {agent_id!r}")
        bodies: list[bytes] = []
        ships, date = await self._client.ships(home.location_id, seen=bodies.append)
        ship = next((ship for ship in ships if text(ship.id) == agent_id), None)
        if ship is None:
            raise LookupError(f"{TASK}: there is no {agent_id!r} any more")
        home = msgspec.structs.replace(home, vendor_time=date or self._clock.time())
        return Explanation(
            reading=self._judge_agent(ship, home),
            reply=redacted_reply(bodies[-1], SHIPS.reply),
        )

    async def explain_location(self, location_id: str) -> Explanation:
        """Return the reading of a location with its agents, read now.

        Raises:
            LookupError: There is no such location.
            PollError: The call failed.
        """
        await self._poll_once()
        key = (Kind.LOCATION, location_id)
        if key not in self._readings:
            raise LookupError(f"locations: there is no {location_id!r}")
        bodies: list[bytes] = []
        row, date = await self._client.location(location_id, seen=bodies.append)
        if text(row.id) != location_id:
            raise LookupError(f"locations: there is no {location_id!r} any more")
        return Explanation(
            reading=self._judge([self._list(row, date)])[key],
            reply=redacted_reply(bodies[-1], LOCATION.reply),
        )

    def _recall(self) -> None:
        """Restore the known readings, and the memory of the configured workspaces."""
        for agent in known_readings(self._client, TASK, Agent):
            self._readings[Kind.AGENT, agent.agent_id] = agent
        for location in known_readings(self._client, TASK, Location):
            self._readings[Kind.LOCATION, location.location_id] = location
        memory = remembered(self._client, TASK, AgentsMemory)
        if memory is None:
            return
        self.location_names |= memory.location_names
        for workspace in self._settings.workspaces:
            self._members[workspace] = (
                *((Kind.AGENT, each) for each in memory.members.get(workspace, ())),
                *((Kind.LOCATION, each) for each in memory.locations.get(workspace, ())),
            )

    def _memory(self) -> AgentsMemory:
        def ids(kind: Kind) -> dict[int, tuple[str, ...]]:
            return {
                workspace: tuple(id_ for each, id_ in keys if each is kind)
                for workspace, keys in self._members.items()
            }

        return AgentsMemory(
            version=1,
            location_names=dict(list(self.location_names.items())[-MOST:]),
            members=ids(Kind.AGENT),
            locations=ids(Kind.LOCATION),
        )

    async def _poll_once(self) -> None:
        if not self._polled:
            await self.poll()

    async def _read(self, workspace: int) -> Pages[ListedLocation]:
        """Read the locations of a workspace, and remember their names."""

        async def page(skip: int) -> ListReply[ListedLocation]:
            reply, date = await self._client.locations(workspace, skip=skip)
            rows = tuple(self._list(row, date) for row in reply.result or ())
            return ListReply(result=rows, limit=reply.limit, total=reply.total, hidden=reply.hidden)

        pages = await read_pages(page, key=lambda listed: listed.location_id or None)
        for listed in pages.items:
            if listed.run_key and listed.name != listed.run_key:
                self.location_names[listed.run_key] = listed.name
        return pages

    def _list(self, row: Row, date: float | None) -> ListedLocation:
        vendor_time = self._clock.time() if date is None else date
        return read_row(row, vendor_time=vendor_time, surprise=self._surprise)

    def _wanted(self, rows: Iterable[ListedLocation]) -> list[ListedLocation]:
        return [listed for listed in rows if self._settings.wanted("locations", listed.name)]

    def _is_wanted(self, reading: Agent | Location) -> bool:
        """Return whether the filters select a reading, which may be from before a reload."""
        if isinstance(reading, Location):
            return self._settings.wanted("locations", reading.location_name)
        return self._settings.wanted(TASK, reading.agent) and self._settings.wanted(
            "locations", reading.location
        )

    def _judge(self, locations: Collection[ListedLocation]) -> _Readings:
        """Return the readings of locations and their agents, each target once."""
        readings: _Readings = {}
        up: dict[str, bool | None] = {}
        for ship_id, home in homes(locations).items():
            agent = self._judge_agent((home.ships or {})[ship_id], home)
            readings[Kind.AGENT, ship_id] = agent
            up[ship_id] = agent.state.up if agent.state else None
        now = self._clock.now()
        for listed in locations:
            if listed.location_id:
                reading = read_location(listed, up, now=now)
                readings.setdefault((Kind.LOCATION, listed.location_id), reading)
        return readings

    def _judge_agent(self, ship: Ship, home: ListedLocation) -> Agent:
        before = self._readings.get((Kind.AGENT, text(ship.id)))
        return read_agent(
            ship,
            home,
            settings=self._settings,
            now=self._clock.now(),
            last_up=before.last_up_timestamp_seconds if isinstance(before, Agent) else None,
            surprise=self._surprise,
        )

    def _carried(self, workspaces: set[int]) -> _Readings:
        """Return the last readings of the targets of some workspaces, without stale ones."""
        not_before = self._clock.monotonic() - self._settings.stale_after_for(TASK)
        carried: _Readings = {}
        for workspace in sorted(workspaces):
            for key in self._members.get(workspace, ()):
                reading = self._readings.get(key)
                seen = reading.state if isinstance(reading, Agent) else reading
                if reading and seen and seen.read_at.monotonic >= not_before:
                    carried[key] = reading
        return carried


def _keys(locations: Iterable[ListedLocation]) -> Iterator[_Key]:
    """Yield the keys of locations and their agents."""
    for listed in locations:
        for ship_id in listed.ships or ():
            yield Kind.AGENT, ship_id
        if listed.location_id:
            yield Kind.LOCATION, listed.location_id
