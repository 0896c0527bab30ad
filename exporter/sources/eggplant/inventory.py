"""The agents of a server, remembered from reply to reply, and their runs.

A reply lists only open connections, so an agent that disconnects is missing from the next reply.
The inventory therefore remembers the agents listed earlier. An entry with an unreadable name may
belong to any agent, so a reply with such an entry does not prove that an agent is missing.

An agent's id is its name. If several agents share a name, as agents of one machine can, the id of
each is `name:port` for as long as more than one of them is remembered.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState, Reading
from exporter.sources.decode import Surprised, text
from exporter.sources.eggplant.runs import Connection, Runs, RunsMemory, is_busy
from exporter.sources.eggplant.settings import name_and_port
from exporter.sources.memory import moment_of


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from exporter.sources.eggplant.replies import AgentEntry
    from exporter.sources.eggplant.settings import EggplantSettings


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's name and port, and the time at which it was last listed."""

    name: str
    port: str
    at: Moment


class Inventory:
    """The agents and runs of one server; turns each reply into readings.

    An agent is remembered for `remember_for` after it was last listed, an expected agent forever.

    Attributes:
        runs: The runs of the agents.
    """

    def __init__(self, settings: EggplantSettings, *, surprise: Surprised) -> None:
        self.runs = Runs(settings, surprise=surprise)
        self._settings = settings
        self._surprise = surprise
        self._expected = {
            agent_id: (name, port)
            for agent_id in settings.expected_agents
            for name, port in [name_and_port(agent_id)]
            if settings.wanted("agents", name)
        }
        #: Names whose agents always have their port in the id.
        self._by_port = {name for name, port in self._expected.values() if port}
        self._listed: dict[str, _Listed] = {}
        self._shown: dict[str, Agent] = {}

    def recall(self, known: Iterable[Agent], memory: RunsMemory | None, now: Moment) -> None:
        """Restore the agents and runs from before a restart or a reload.

        Args:
            known: The last readings of the agents.
            memory: The last memory of the runs.
            now: The current time.
        """
        for agent in known:
            if self._settings.wanted("agents", agent.agent):
                self._shown[agent.agent_id] = agent
                if (last_up := agent.last_up_timestamp_seconds) is not None:
                    self._listed[agent.agent_id] = _Listed(
                        name=agent.agent, port=agent.port, at=moment_of(last_up, now)
                    )
        if memory is not None:
            self.runs.recall(memory, now)

    def update(self, entries: Iterable[AgentEntry], now: Moment) -> tuple[Reading, ...]:
        """Process a reply; return the readings of listed and missing agents and of runs."""
        # Forget agents that were last listed too long ago.
        self._listed = {
            agent_id: last
            for agent_id, last in self._listed.items()
            if agent_id in self._expected
            or now.monotonic - last.at.monotonic <= self._settings.remember_for
        }
        connections, complete = self._connections(entries)
        agents: dict[str, Agent] = {}
        for connection in connections:
            if connection.agent_id in agents:
                self._surprise("type")
            else:
                agents[connection.agent_id] = self._connected(connection, now)
        for agent_id, (name, port) in self._missing(agents, connections):
            last = self._listed.get(agent_id)
            missing = Agent(
                agent_id=agent_id,
                agent=name,
                port=port,
                last_up_timestamp_seconds=last.at.unix if last else None,
                state=AgentState(read_at=now, up=False, reason=Reason.NOT_CONNECTED),
            )
            unknown = Agent(agent_id=agent_id, agent=name, port=port)
            agents[agent_id] = missing if complete else self._shown.get(agent_id, unknown)
        self._shown = agents
        self.runs.update(connections, now, complete=complete)
        return self.readings(now)

    def readings(self, now: Moment) -> tuple[Reading, ...]:
        """Return the agents' readings by the newest reply, and the current ones of the runs."""
        return (*self._shown.values(), *self.runs.readings(now))

    def _connections(self, entries: Iterable[AgentEntry]) -> tuple[list[Connection], bool]:
        """Return the wanted entries with their agents, and whether all entries have a name."""
        named: list[tuple[str, str, AgentEntry]] = []
        complete = True
        for entry in entries:
            if not entry.agent_name:
                self._surprise("missing_field")
                complete = False
            elif self._settings.wanted("agents", entry.agent_name):
                named.append((entry.agent_name, text(entry.port), entry))
        shared = self._shared_names({(name, port) for name, port, _ in named})
        connections = [
            Connection(
                agent_id=f"{name}:{port}" if port and name in shared else name,
                agent=name,
                port=port,
                entry=entry,
            )
            for name, port, entry in named
        ]
        return connections, complete

    def _shared_names(self, listed: Collection[tuple[str, str]]) -> set[str]:
        """Return the names whose agents have their port in the id, and rename remembered agents.

        Args:
            listed: The names and ports in a reply.
        """
        before = {last.name for agent_id, last in self._listed.items() if agent_id != last.name}
        ports = {(last.name, last.port) for last in self._listed.values() if last.name in before}
        counts = Counter(name for name, _ in ports.union(listed))
        shared = self._by_port | {name for name, count in counts.items() if count > 1}
        alone = {name for name, _ in listed} - shared
        renamed: dict[str, _Listed] = {}
        for agent_id, last in self._listed.items():
            if last.name in alone:
                renamed[last.name] = last
            elif last.name in shared and last.port:
                renamed[f"{last.name}:{last.port}"] = last
            else:
                renamed[agent_id] = last
        self._listed = renamed
        return shared

    def _missing(
        self, agents: Collection[str], connections: Iterable[Connection]
    ) -> list[tuple[str, tuple[str, str]]]:
        """Return ids, names and ports of the expected or remembered agents that are not listed."""
        listed = {agent_id: (last.name, last.port) for agent_id, last in self._listed.items()}
        known = self._expected | listed
        # Names that occur with a port in the id of some agent; alone they identify no agent.
        shared = {name for agent_id, (name, _) in known.items() if agent_id != name}
        # A connection without a port may be that of any agent with its name.
        open_names = {each.agent for each in connections if not each.port}
        return [
            (agent_id, (name, port))
            for agent_id, (name, port) in known.items()
            if agent_id not in agents
            and agent_id not in shared
            and (agent_id == name or name not in open_names)
        ]

    def _connected(self, connection: Connection, now: Moment) -> Agent:
        entry = connection.entry
        busy = is_busy(entry)
        if busy is None:
            self._surprise("type" if entry.process_id else "missing_field")
        self._listed[connection.agent_id] = _Listed(
            name=connection.agent, port=connection.port, at=now
        )
        return Agent(
            agent_id=connection.agent_id,
            agent=connection.agent,
            port=connection.port,
            last_up_timestamp_seconds=now.unix,
            state=AgentState(read_at=now, up=True, busy=busy),
        )
