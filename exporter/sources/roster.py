"""The roster of agents for vendors that list only the agents that are connected now.

Such a vendor removes a dead agent from its list after a while, but an agent that was shut down
immediately. The roster distinguishes the two cases by the last state of the agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from exporter.clock import Moment


class Roster:
    """The agents of all lists so far.

    If an agent was down when it left the list, it stays down until `remember_for` after it was last
    up. If it was up, it was shut down or is missing only for a moment: its state is unknown for
    `grace`, and then it is forgotten. An expected agent is not forgotten but shown as down.
    """

    def __init__(self, expected: Collection[str], *, remember_for: float, grace: float) -> None:
        """Start with an empty roster.

        Args:
            expected: Ids of agents that are never forgotten.
            remember_for: Seconds for which an agent stays down after it was last up.
            grace: Seconds for which the state of an agent that was up is unknown.
        """
        self._expected = tuple(dict.fromkeys(expected))
        self._remember_for = remember_for
        self._grace = grace
        self._seen: dict[str, Agent] = {}
        self._gone: dict[str, float] = {}

    def recall(self, known: Iterable[Agent]) -> None:
        """Restore the agents that were shown before a restart or a reload."""
        self._seen = {agent.agent_id: agent for agent in known}

    def update(self, listed: Iterable[Agent], now: Moment) -> tuple[Agent, ...]:
        """Return all agents after processing a list, the listed agents first."""
        present: dict[str, Agent] = {}
        for agent in listed:
            up = agent.state is not None and agent.state.up
            before = self._seen.get(agent.agent_id)
            last_up = now.unix if up else before and before.last_up_timestamp_seconds
            present[agent.agent_id] = msgspec.structs.replace(
                agent, last_up_timestamp_seconds=last_up
            )
        missing = [agent for agent_id, agent in self._seen.items() if agent_id not in present]
        never_seen = [
            Agent(agent_id=agent_id, agent=agent_id)
            for agent_id in self._expected
            if agent_id not in present and agent_id not in self._seen
        ]
        absent = (*missing, *never_seen)
        self._gone = {
            agent.agent_id: self._gone.get(agent.agent_id, now.monotonic) for agent in absent
        }
        shown = (self._absent(agent, now) for agent in absent)
        self._seen = present | {agent.agent_id: agent for agent in shown if agent is not None}
        return tuple(self._seen.values())

    def _absent(self, agent: Agent, now: Moment) -> Agent | None:
        """Return the reading of a missing agent, or `None` once the agent is forgotten."""
        expected = agent.agent_id in self._expected
        waited = now.monotonic - self._gone[agent.agent_id]
        if agent.state is not None and agent.state.up is False:
            last_up = agent.last_up_timestamp_seconds
            away = waited if last_up is None else now.unix - last_up
            if not expected and away > self._remember_for:
                return None
            reason = agent.state.reason
        elif waited < self._grace:
            return msgspec.structs.replace(agent, state=None)
        elif not expected:
            return None
        else:
            reason = Reason.NOT_CONNECTED
        state = AgentState(read_at=now, up=False, reason=reason)
        # `active` is dropped, so that an expected agent counts as missing even if it was inactive.
        return msgspec.structs.replace(agent, active=None, state=state)
