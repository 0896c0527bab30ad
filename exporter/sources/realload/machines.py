"""Pinged machines: measuring agents with their jobs, controllers, recorders."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from functools import partial
from sys import intern
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from exporter.errors import Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import (
    JOB_STATES,
    Agent,
    AgentJobs,
    AgentState,
    Controller,
    Recorder,
    RecorderState,
    State,
    Target,
)
from exporter.sources.base import Failure, Poll
from exporter.sources.decode import measured, older, text
from exporter.sources.memory import known_readings
from exporter.sources.realload import actions, replies
from exporter.sources.realload.actions import TIMED_OUT, Flagged
from exporter.sources.realload.inventory import Inventory, address
from exporter.sources.realload.pings import Pinger, PingResult


if TYPE_CHECKING:
    from exporter.clock import Moment
    from exporter.sources.realload.account import AccountFacts
    from exporter.sources.realload.client import RealLoadClient, Trace


M = TypeVar("M", bound=Target)

#: A longer uptime is not credible: one of the two times from which it is computed is wrong.
_LONGEST_UPTIME_SECONDS = 10 * 366 * 86_400.0

#: Tolerance, in addition to the call's duration, within which a newly computed start time counts as
#: the known one.
_START_JITTER_SECONDS = 2.0

#: The largest number of different tokens tried for one controller.
_MAX_TOKENS = 10


class Machines(Inventory[M]):
    """The machines of one kind, which answer a ping with information about themselves.

    Attributes:
        state_type: The type of their states.
        start_field: The field of a ping's data with the machine's start time by its own clock;
            empty if there is none.
    """

    state_type: ClassVar[type[State]]
    start_field: ClassVar[str] = ""

    @abstractmethod
    def facts(self, info: Any) -> dict[str, Any]:
        """Return the state's fields that only this kind of machine has."""

    def with_state(self, listed: M, ping: PingResult[Any] | None, previous: M | None) -> M:
        """Return a machine with its state and the time at which it was last up.

        A machine that is not to be pinged has no state.
        """
        state: State | None = None
        if ping is not None:
            found: State | Flagged = ping.answer
            state = self._flagged(ping.at, found) if isinstance(found, Flagged) else found
        elif previous is not None and self.should_ping(listed):
            state = previous.state
        last_up = previous.last_up_timestamp_seconds if previous else None
        if state is not None and state.up:
            last_up = state.read_at.unix
        return msgspec.structs.replace(listed, state=state, last_up_timestamp_seconds=last_up)

    async def answer(self, target_id: str, trace: Trace) -> State | Flagged:
        """Return a machine's state from a ping; it needs much less memory than the reply.

        Raises:
            PollError: The call failed.
        """
        answer = await self.ping(target_id, trace)
        if isinstance(answer, Flagged):
            return answer
        previous = self.known.get(target_id)
        info = getattr(answer, self.ping_action.data)
        return self._state(info, trace.seconds, previous.state if previous else None)

    def _flagged(self, at: Moment, flag: Flagged) -> State:
        return self.state_type(read_at=at, up=flag.up, reason=flag.reason, outdated=flag.outdated)

    def _state(self, info: Any, seconds: float, previous: State | None) -> State:
        at = self.client.context.clock.now()
        return self.state_type(
            read_at=at,
            up=True,
            # Most machines report the same texts, so interning saves memory.
            version=intern(info.product_version or ""),
            os=intern(info.os_name or ""),
            os_version=intern(info.os_version or ""),
            java_version=intern(info.java_version or ""),
            java_vendor=intern(info.java_vendor or ""),
            clock_delta_seconds=replies.signed_seconds(info.delta_time_millis),
            ping_duration_seconds=replies.seconds(info.http_execute_time_millis),
            start_timestamp_seconds=self._start(info, at, seconds, previous),
            **self.facts(info),
        )

    def _start(self, info: Any, at: Moment, seconds: float, previous: State | None) -> float | None:
        """Return a machine's start time by the exporter's clock, as a Unix timestamp.

        The machine's own clock may be wrong, but the difference of two of its times gives the
        uptime. A known start time stays while it is within the tolerance of the new one, so that
        it does not change with each poll.
        """
        system_time = measured(info.system_time)
        started = measured(getattr(info, self.start_field, None))
        if system_time is None or started is None:
            return None
        uptime = (system_time - started) / 1000
        if not 0 <= uptime <= _LONGEST_UPTIME_SECONDS:
            return None
        start = at.unix - uptime
        known = previous.start_timestamp_seconds if previous else None
        if known is not None and abs(start - known) <= seconds + _START_JITTER_SECONDS:
            return known
        return start

    def memory_size(self, size: str | None) -> float | None:
        """Return a size of memory in bytes; count an unreadable size as a surprise."""
        number = replies.parse_memory_size(size)
        if number is None and size and not size.startswith("-1"):
            self.client.surprise("type")
        return number


class Agents(Machines[Agent]):
    """The measuring agents of an account."""

    kind = Kind.AGENT
    list_action = actions.AGENTS
    ping_action = actions.AGENT_PING
    state_type = AgentState
    start_field = "agent_startup_time_stamp"

    def state_of(self, agent_id: str) -> AgentState | None:
        """Return an agent's state from the newest poll."""
        known = self.known.get(agent_id)
        return known.state if known else None

    def read(self, item: replies.AgentItem) -> Agent:
        """Return a listed agent, without a state."""
        return Agent(
            agent_id=text(item.agent_id),
            agent=item.agent_description or text(item.agent_id),
            host=item.agent_host or "",
            port=text(item.agent_port),
            active=replies.flag(item.agent_active),
            protected=replies.protected(item.auth_token),
            managed="vendor" if replies.flag(item.is_launched_by_cloud_credits) else "",
        )

    def facts(self, info: replies.AgentInfo) -> dict[str, Any]:
        """Return the state's fields that only agents have."""
        return {
            # For an outdated agent the portal sends an error flag in place of this reply.
            "outdated": False,
            "memory_limit_bytes": self.memory_size(info.java_max_memory),
            "users_limit": replies.limit(info.limit_max_users_per_job),
            "job_duration_limit_seconds": replies.limit(info.limit_max_job_duration_seconds),
        }


class Jobs:
    """The jobs of all agents that are likely to answer.

    The action has no specific error flags. If an agent cannot be reached, the reply looks like a
    refusal of the token and stops the source for a proof; the third within a minute stops it even
    longer. Inactive, down and outdated agents are therefore left out, and an agent of unknown state
    is pinged first.
    """

    def __init__(self, client: RealLoadClient, agents: Agents) -> None:
        self._client = client
        self._agents = agents
        self._pinger = Pinger(client)
        before = known_readings(client, "jobs", AgentJobs)
        self._known = {each.agent_id: each for each in before}

    async def poll(self) -> Poll:
        """List the agents, then ask each for its jobs.

        Returns:
            The number of jobs of each agent by state, and the calls that failed.

        Raises:
            PollError: The list could not be read.
        """
        listed = await self._agents.listed()
        asked = {agent_id: agent for agent_id, agent in listed.items() if self._answers(agent)}
        pinged = await self._pinger.run(
            {agent_id: partial(self._ask, agent_id) for agent_id in asked}
        )
        failures = list(pinged.failures)
        known: dict[str, AgentJobs] = {}
        for agent_id, agent in asked.items():
            result = pinged.results.get(agent_id)
            answer = result.answer if result else None
            if result and isinstance(answer, replies.JobList):
                known[agent_id] = self._jobs(agent, result.at, answer)
                continue
            if answer is TIMED_OUT:
                # Only its ping decides whether an agent is down, so this is a failure of the poll.
                message = f"{actions.AGENT_JOBS.name}: no answer in time"
                failures.append(Failure(reason=Reason.TIMEOUT, message=message, target=agent_id))
            if answer in (None, TIMED_OUT) and agent_id in self._known:
                known[agent_id] = self._known[agent_id]
        self._known = known
        return Poll(
            readings=tuple(known.values()),
            failures=tuple(failures),
            asked=pinged.asked,
            vendor_slow=pinged.vendor_slow,
        )

    def _answers(self, agent: Agent) -> bool:
        state = self._agents.state_of(agent.agent_id)
        down = state is not None and (state.up is False or state.outdated is True)
        return self._agents.should_ping(agent) and not down

    async def _ask(self, agent_id: str, trace: Trace) -> replies.JobList | Flagged:
        if self._agents.state_of(agent_id) is None:
            ping = await self._agents.ping(agent_id, trace)
            if isinstance(ping, Flagged):
                return ping
        return await self._client.call(
            actions.AGENT_JOBS, {"measuringAgentId": int(agent_id)}, trace=trace
        )

    def _jobs(self, agent: Agent, at: Moment, reply: replies.JobList) -> AgentJobs:
        counts: Counter[str] = Counter(dict.fromkeys(JOB_STATES, 0))
        for job in (reply.agent_response or replies.JobInfo()).all_testjobs_array or ():
            raw = job.testjob_properties.testjob_state if job.testjob_properties else None
            state = (raw or "").strip().casefold()
            if raw is None:
                self._client.surprise("missing_field")
            elif state not in JOB_STATES:
                self._client.surprise("enum")
            counts[state if state in JOB_STATES else JOB_STATES[-1]] += 1
        return AgentJobs(
            agent_id=agent.agent_id,
            agent=agent.agent,
            read_at=at,
            counts={state: float(count) for state, count in counts.items()},
        )


class Recorders(Machines[Recorder]):
    """The proxy recorders of an account.

    The portal has no flag for outdated recorders, so the exporter compares versions itself.
    """

    kind = Kind.RECORDER
    list_action = actions.RECORDERS
    ping_action = actions.RECORDER_PING
    state_type = RecorderState

    def __init__(self, client: RealLoadClient, account: AccountFacts) -> None:
        super().__init__(client)
        self._account = account
        self._minimum: str | None = None

    async def poll(self) -> Poll:
        """List the recorders, then ping each.

        Returns:
            The readings of all recorders, the pings that failed, and the account's facts as memory.

        Raises:
            PollError: The list could not be read.
        """
        poll = await super().poll()
        return msgspec.structs.replace(poll, memory=self._account.memory())

    async def items(self) -> list[replies.RecorderItem]:
        """Return all listed recorders, after reading their minimum version."""
        items = await super().items()
        self._minimum = await self._account.min_recorder_version()
        return items

    def read(self, item: replies.RecorderItem) -> Recorder:
        """Return a listed recorder, without a state."""
        return Recorder(
            recorder_id=text(item.recorder_id),
            recorder=item.recorder_description or text(item.recorder_id),
            host=item.recorder_proxy_host or "",
            port=text(item.recorder_proxy_port),
            protected=replies.protected(item.recorder_control_auth_token),
        )

    def facts(self, info: replies.RecorderInfo) -> dict[str, Any]:
        """Return the state's fields that only recorders have, and `outdated` by its version."""
        outdated = None
        if info.product_version is not None and self._minimum is not None:
            outdated = older(info.product_version, self._minimum)
        return {
            "outdated": outdated,
            "component_version": info.recorder_component_version or "",
            "memory_limit_bytes": replies.megabytes(info.java_memory_mb),
            "recording": replies.flag(info.is_recording),
            "recorded_elements": measured(info.num_recorded_elements),
        }


class Controllers(Machines[Controller]):
    """The controllers of an account's clusters; a controller of several clusters counts once.

    A controller has no id; its address identifies it.
    """

    kind = Kind.CONTROLLER
    list_action = actions.CONTROLLERS
    ping_action = actions.CONTROLLER_PING
    state_type = State
    start_field = "controller_startup_time_stamp"

    def __init__(self, client: RealLoadClient) -> None:
        super().__init__(client)
        #: By address, one item for each token; used for pings and never shown.
        self._items: dict[str, list[replies.ControllerItem]] = {}
        self._active: set[str] = set()
        #: By address, the token that the controller accepted last.
        self._accepted: dict[str, msgspec.Raw] = {}

    async def items(self) -> list[replies.ControllerItem]:
        """Return all listed controllers, each once."""
        items: dict[str, list[replies.ControllerItem]] = {}
        active: set[str] = set()
        for item in await super().items():
            if not item.controller_host or item.controller_port is None:
                self.client.surprise("missing_field")
                continue
            key = address(item.controller_host, item.controller_port)
            same = items.setdefault(key, [])
            if len(same) < _MAX_TOKENS and _token(item) not in map(_token, same):
                # A copy, since the original would keep the whole reply in memory.
                token = item.controller_auth_token.copy()
                same.append(msgspec.structs.replace(item, controller_auth_token=token))
            clusters = item.measuring_agent_clusters_array or ()
            if {replies.flag(each.cluster_active) for each in clusters} != {False}:
                active.add(key)
        self._items, self._active = items, active
        self._accepted = {key: token for key, token in self._accepted.items() if key in items}
        return [same[0] for same in items.values()]

    def read(self, item: replies.ControllerItem) -> Controller:
        """Return a listed controller, without a state."""
        key = address(item.controller_host, item.controller_port)
        protected = {replies.protected(each.controller_auth_token) for each in self._items[key]}
        return Controller(
            controller=key,
            host=item.controller_host or "",
            port=text(item.controller_port),
            protected=True if True in protected else next(iter(protected - {None}), None),
        )

    async def ping(self, target_id: str, trace: Trace) -> Any | Flagged:
        """Return the reply to a ping of a controller, or the meaning of an error flag.

        The call needs the controller's address and token. A wrong token looks like an unreachable
        controller, and the clusters may store different tokens for one controller. All tokens are
        therefore tried, beginning with the token that was accepted last.

        Raises:
            PollError: The call failed.
        """
        accepted = self._accepted.get(target_id)
        items = sorted(
            self._items[target_id], key=lambda item: item.controller_auth_token != accepted
        )
        answer: Any | Flagged = actions.NOT_REACHABLE
        for item in items:
            fields = {
                "controllerHost": item.controller_host,
                "controllerPort": item.controller_port,
                "controllerAuthToken": _token(item),
            }
            answer = await self.client.call(self.ping_action, fields, trace=trace)
            if answer is not actions.NOT_REACHABLE:
                self._accepted[target_id] = item.controller_auth_token
                break
        return answer

    def should_ping(self, listed: Controller) -> bool:
        """Return whether a controller has an active cluster or no known clusters."""
        return listed.controller in self._active

    def facts(self, info: replies.ControllerInfo) -> dict[str, Any]:
        """Return the state's fields that only controllers have."""
        return {
            "outdated": replies.flag(info.cluster_controller_outdated),
            "memory_limit_bytes": self.memory_size(info.java_max_memory),
        }


def _token(item: replies.ControllerItem) -> str:
    return replies.secret_text(item.controller_auth_token) or ""
