"""The jobs that agents keep (reference section 3.6)."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from exporter.errors import Reason
from exporter.readings import JOB_STATES, Agent, AgentJobs
from exporter.sources.base import Failure, Poll
from exporter.sources.realload import actions
from exporter.sources.realload.actions import Flagged
from exporter.sources.realload.replies.records import JobInfo, JobList


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.clock import Moment
    from exporter.sources.realload.agents import Agents
    from exporter.sources.realload.client import Trace
    from exporter.sources.realload.portal import Portal

_OTHER = JOB_STATES[-1]


class Jobs:
    """The jobs of all agents that can be expected to answer.

    The action has no specific error flags: the reply for an agent that cannot be reached looks
    like a refusal of the token and would stop the source for a proof. So agents that are inactive
    or known to be down are left out.
    """

    def __init__(self, portal: Portal, agents: Agents) -> None:
        self._portal = portal
        self._agents = agents
        self._rounds = portal.rounds()
        self._known: Mapping[str, AgentJobs] = {}

    async def poll(self) -> Poll:
        """List the agents, then ask each for its jobs.

        Raises:
            PollError: The list could not be read.
        """
        listed = await self._agents.listed()
        asked = {agent_id: agent for agent_id, agent in listed.items() if self._answers(agent)}
        round_ = await self._rounds.go(
            {agent_id: partial(self._ask, agent_id) for agent_id in asked}
        )
        failures = list(round_.failures)
        known: dict[str, AgentJobs] = {}
        for agent_id, agent in asked.items():
            look = round_.looks.get(agent_id)
            answer = look.answer if look else None
            if isinstance(answer, Flagged):
                failures.append(_failure(agent_id, answer))
            elif look and answer:
                known[agent_id] = self._jobs(agent, look.at, answer)
            if agent_id not in known and agent_id in self._known:
                known[agent_id] = self._known[agent_id]
        self._known = known
        return Poll(readings=tuple(known.values()), failures=tuple(failures))

    def _answers(self, agent: Agent) -> bool:
        before = self._agents.known.get(agent.agent_id)
        down = before is not None and before.state is not None and before.state.up is False
        return self._agents.pinged(agent) and not down

    async def _ask(self, agent_id: str, trace: Trace) -> JobList | Flagged:
        return await self._portal.client.call(
            actions.AGENT_JOBS, {"measuringAgentId": int(agent_id)}, trace=trace
        )

    def _jobs(self, agent: Agent, at: Moment, reply: JobList) -> AgentJobs:
        counts: Counter[str] = Counter(dict.fromkeys(JOB_STATES, 0))
        for job in (reply.agent_response or JobInfo()).all_testjobs_array or ():
            state = job.testjob_properties.testjob_state if job.testjob_properties else None
            if state is None:
                self._portal.surprise("missing_field")
            elif state not in JOB_STATES:
                self._portal.surprise("enum")
            counts[state if state in JOB_STATES else _OTHER] += 1
        return AgentJobs(
            agent_id=agent.agent_id,
            agent=agent.agent,
            read_at=at,
            counts={state: float(count) for state, count in counts.items()},
        )


def _failure(agent_id: str, answer: Flagged) -> Failure:
    """Report a time-out: whether an agent is down is said by its ping, not by its jobs."""
    reason = answer.reason or Reason.API_ERROR
    message = f"{actions.AGENT_JOBS.name}: no answer in time"
    return Failure(reason=reason, message=message, target=agent_id)
