"""The jobs that agents keep."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from exporter.errors import Reason
from exporter.fleet.readings import JOB_STATES, Agent, AgentJobs, AgentState
from exporter.sources.base import Failure, Poll
from exporter.sources.realload import actions
from exporter.sources.realload.actions import TIMED_OUT, Flagged
from exporter.sources.realload.pings import Pinger
from exporter.sources.realload.replies import JobInfo, JobList


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.clock import Moment
    from exporter.sources.realload.client import RealLoadClient, Trace
    from exporter.sources.realload.machines import Agents

_OTHER = JOB_STATES[-1]


class Jobs:
    """The jobs of all agents that can be expected to answer.

    The action has no specific error flags: the reply for an agent that cannot be reached looks
    like a refusal of the token and would stop the source for a proof, the third in a minute even
    longer. So agents that are inactive, down or outdated are left out, and one of which nothing is
    known is pinged first.
    """

    def __init__(self, client: RealLoadClient, agents: Agents) -> None:
        self._client = client
        self._agents = agents
        self._pinger = Pinger(client)
        self._known: Mapping[str, AgentJobs] = {}

    async def poll(self) -> Poll:
        """List the agents, then ask each for its jobs.

        Raises:
            PollError: The list could not be read.
        """
        listed = await self._agents.listed()
        asked = {agent_id: agent for agent_id, agent in listed.items() if self._answers(agent)}
        batch = await self._pinger.run(
            {agent_id: partial(self._ask, agent_id) for agent_id in asked}
        )
        failures = list(batch.failures)
        known: dict[str, AgentJobs] = {}
        for agent_id, agent in asked.items():
            result = batch.results.get(agent_id)
            answer = result.answer if result else None
            if result and isinstance(answer, JobList):
                known[agent_id] = self._jobs(agent, result.at, answer)
            elif answer is None or answer is TIMED_OUT:
                if answer is TIMED_OUT:
                    failures.append(_late(agent_id))
                if agent_id in self._known:
                    known[agent_id] = self._known[agent_id]
        self._known = known
        return Poll(readings=tuple(known.values()), failures=tuple(failures))

    def _answers(self, agent: Agent) -> bool:
        state = self._state(agent.agent_id)
        down = state is not None and (state.up is False or state.outdated is True)
        return self._agents.should_ping(agent) and not down

    def _state(self, agent_id: str) -> AgentState | None:
        before = self._agents.known.get(agent_id)
        return before.state if before else None

    async def _ask(self, agent_id: str, trace: Trace) -> JobList | Flagged:
        if self._state(agent_id) is None:
            ping = await self._agents.ping(agent_id, trace)
            if isinstance(ping, Flagged):
                return ping
        return await self._client.call(
            actions.AGENT_JOBS, {"measuringAgentId": int(agent_id)}, trace=trace
        )

    def _jobs(self, agent: Agent, at: Moment, reply: JobList) -> AgentJobs:
        counts: Counter[str] = Counter(dict.fromkeys(JOB_STATES, 0))
        for job in (reply.agent_response or JobInfo()).all_testjobs_array or ():
            state = job.testjob_properties.testjob_state if job.testjob_properties else None
            if state is None:
                self._client.surprise("missing_field")
            elif state not in JOB_STATES:
                self._client.surprise("enum")
            counts[state if state in JOB_STATES else _OTHER] += 1
        return AgentJobs(
            agent_id=agent.agent_id,
            agent=agent.agent,
            read_at=at,
            counts={state: float(count) for state, count in counts.items()},
        )


def _late(agent_id: str) -> Failure:
    """Report a time-out: whether an agent is down is said by its ping, not by its jobs."""
    message = f"{actions.AGENT_JOBS.name}: no answer in time"
    return Failure(reason=Reason.TIMEOUT, message=message, target=agent_id)
