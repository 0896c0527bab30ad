"""Measuring agents (reference section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.cooperative import in_turns
from exporter.fleet.readings import Agent, AgentState
from exporter.sources.realload import actions
from exporter.sources.realload.actions import Flagged
from exporter.sources.realload.portal import Inventory, facts, flagged, target
from exporter.sources.realload.replies import AgentInfo, AgentItem, AgentPing
from exporter.sources.realload.values import flag, limit, memory, protected, seconds, words


if TYPE_CHECKING:
    from exporter.sources.realload.client import Trace
    from exporter.sources.realload.rounds import Look


class Agents(Inventory[Agent, AgentPing]):
    """The agents of an account."""

    kind = "agents"
    reply = AgentPing

    async def listing(self) -> list[Agent]:
        """Return all agents, without a state."""
        reply = await self.portal.client.data(actions.AGENTS)
        agents = []
        async for item in in_turns(reply.measuring_agents_array or ()):
            if item.agent_id is None:
                self.portal.surprise("missing_field")
                continue
            agents.append(_bare(item))
        return agents

    async def ask(self, target_id: str, trace: Trace) -> AgentPing | Flagged:
        """Ping an agent."""
        return await self.portal.client.call(
            actions.AGENT_PING, {"agentId": int(target_id)}, trace=trace
        )

    def key(self, reading: Agent) -> str:
        """Return its id."""
        return reading.agent_id

    def name(self, reading: Agent) -> str:
        """Return its description."""
        return reading.agent

    def pinged(self, bare: Agent) -> bool:
        """Leave out what the portal was told not to watch."""
        return bare.active is not False

    def settled(self, bare: Agent, look: Look[AgentPing] | None, before: Agent | None) -> Agent:
        """Return an agent with its state; an inactive one has none."""
        state = before.state if before and self.pinged(bare) else None
        return target(bare, _state(look) if look else state, before)


def _bare(item: AgentItem) -> Agent:
    return Agent(
        agent_id=str(item.agent_id),
        agent=item.agent_description or str(item.agent_id),
        host=item.agent_host or "",
        port=words(item.agent_port),
        active=flag(item.agent_active),
        protected=protected(item.auth_token),
    )


def _state(look: Look[AgentPing]) -> AgentState:
    if isinstance(look.answer, Flagged):
        return AgentState(**flagged(look.at, look.answer))
    info = look.answer.agent_response or AgentInfo()
    return AgentState(
        **facts(look.at, info),
        # The portal answers a ping of an outdated agent with a flag.
        outdated=False,
        start_timestamp_seconds=seconds(info.agent_startup_time_stamp),
        memory_limit_bytes=memory(info.java_max_memory),
        users_limit=limit(info.limit_max_users_per_job),
        job_duration_limit_seconds=limit(info.limit_max_job_duration_seconds),
    )
