"""Machines that are pinged one by one: measuring agents, cluster controllers, proxy recorders."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from exporter.cooperative import in_turns
from exporter.fleet.readings import (
    Agent,
    AgentState,
    Controller,
    Recorder,
    RecorderState,
    State,
    Target,
)
from exporter.sources.decode import older
from exporter.sources.realload import actions
from exporter.sources.realload.actions import Flagged
from exporter.sources.realload.inventory import Inventory
from exporter.sources.realload.values import (
    address,
    flag,
    limit,
    measured,
    megabytes,
    parse_memory_size,
    protected,
    seconds,
    secret_text,
    signed_seconds,
    words,
)


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from exporter.sources.realload.account import AccountFacts
    from exporter.sources.realload.client import RealLoadClient, Trace
    from exporter.sources.realload.pings import PingResult
    from exporter.sources.realload.replies import (
        AgentInfo,
        AgentItem,
        ControllerInfo,
        ControllerItem,
        RecorderInfo,
        RecorderItem,
    )


M = TypeVar("M", bound=Target)


class Machines(Inventory[M]):
    """One kind of machines, all of which answer a ping alike.

    Attributes:
        state_type: The type of their states.
    """

    state_type: ClassVar[type[State]]

    @abstractmethod
    def facts(self, info: Any) -> dict[str, Any]:
        """Return what only this kind says of itself, as fields of its state."""

    def with_state(self, listed: M, ping: PingResult[Any] | None, previous: M | None) -> M:
        """Return a machine with its state and with when it was last seen up.

        One that is not to be pinged has no state.
        """
        state: State | None = None
        if ping is not None:
            state = self._state(ping)
        elif previous is not None and self.should_ping(listed):
            state = previous.state
        last_up = previous.last_up_timestamp_seconds if previous else None
        if state is not None and state.up:
            last_up = state.read_at.unix
        return msgspec.structs.replace(listed, state=state, last_up_timestamp_seconds=last_up)

    def _state(self, ping: PingResult[Any]) -> State:
        answer = ping.answer
        if isinstance(answer, Flagged):
            return self.state_type(
                read_at=ping.at, up=answer.up, reason=answer.reason, outdated=answer.outdated
            )
        info = getattr(answer, self.ping_action.data)
        return self.state_type(
            read_at=ping.at,
            up=True,
            version=info.product_version or "",
            os=info.os_name or "",
            os_version=info.os_version or "",
            java_version=info.java_version or "",
            java_vendor=info.java_vendor or "",
            clock_delta_seconds=signed_seconds(info.delta_time_millis),
            ping_duration_seconds=seconds(info.http_execute_time_millis),
            **self.facts(info),
        )


class Agents(Machines[Agent]):
    """The measuring agents of an account."""

    kind = "agents"
    list_action = actions.AGENTS
    ping_action = actions.AGENT_PING
    id_field = "agent_id"
    name_field = "agent"
    state_type = AgentState

    async def listing(self) -> list[Agent]:
        """Return all agents, without a state."""
        return [_listed_agent(item) async for item in in_turns(await self.items())]

    def facts(self, info: AgentInfo) -> dict[str, Any]:
        """Return what only agents say of themselves."""
        return {
            # The portal answers a ping of an outdated agent with a flag.
            "outdated": False,
            "start_timestamp_seconds": seconds(info.agent_startup_time_stamp),
            "memory_limit_bytes": parse_memory_size(info.java_max_memory),
            "users_limit": limit(info.limit_max_users_per_job),
            "job_duration_limit_seconds": limit(info.limit_max_job_duration_seconds),
        }


def _listed_agent(item: AgentItem) -> Agent:
    return Agent(
        agent_id=str(item.agent_id),
        agent=item.agent_description or str(item.agent_id),
        host=item.agent_host or "",
        port=words(item.agent_port),
        active=flag(item.agent_active),
        protected=protected(item.auth_token),
    )


class Recorders(Machines[Recorder]):
    """The proxy recorders of an account; the portal has no flag for outdated ones."""

    kind = "recorders"
    list_action = actions.RECORDERS
    ping_action = actions.RECORDER_PING
    id_field = "recorder_id"
    name_field = "recorder"
    state_type = RecorderState

    def __init__(self, client: RealLoadClient, account: AccountFacts) -> None:
        super().__init__(client)
        self._account = account
        self._minimum: str | None = None

    async def listing(self) -> list[Recorder]:
        """Return all recorders, without a state."""
        items = await self.items()
        self._minimum = await self._account.min_recorder_version()
        return [_listed_recorder(item) for item in items]

    def facts(self, info: RecorderInfo) -> dict[str, Any]:
        """Return what only recorders say of themselves, and whether one is outdated."""
        outdated = None
        if info.product_version is not None and self._minimum is not None:
            outdated = older(info.product_version, self._minimum)
        return {
            "outdated": outdated,
            "component_version": info.recorder_component_version or "",
            "memory_limit_bytes": megabytes(info.java_memory_mb),
            "recording": flag(info.is_recording),
            "recorded_elements": measured(info.num_recorded_elements),
        }


def _listed_recorder(item: RecorderItem) -> Recorder:
    return Recorder(
        recorder_id=str(item.recorder_id),
        recorder=item.recorder_description or str(item.recorder_id),
        host=item.recorder_proxy_host or "",
        port=words(item.recorder_proxy_port),
        protected=protected(item.recorder_control_auth_token),
    )


class Controllers(Machines[Controller]):
    """The controllers of an account's clusters, each once however many clusters use it.

    A controller has no id; its address stands for one.
    """

    kind = "controllers"
    list_action = actions.CONTROLLERS
    ping_action = actions.CONTROLLER_PING
    id_field = "controller"
    name_field = "controller"
    state_type = State

    def __init__(self, client: RealLoadClient) -> None:
        super().__init__(client)
        #: By address. Their tokens are kept for pinging and shown by nothing.
        self._items: Mapping[str, ControllerItem] = {}
        self._active: AbstractSet[str] = frozenset()

    async def listing(self) -> list[Controller]:
        """Return all controllers, without a state."""
        reply = await self.client.data(self.list_action)
        items: dict[str, ControllerItem] = {}
        active: set[str] = set()
        for item in reply.cluster_controllers_array or ():
            if not item.controller_host or item.controller_port is None:
                self.client.surprise("missing_field")
                continue
            key = address(item.controller_host, item.controller_port)
            if key not in items:
                # A copy, since the original would keep the whole reply in memory.
                token = item.controller_auth_token.copy()
                items[key] = msgspec.structs.replace(item, controller_auth_token=token)
            if _is_active(item):
                active.add(key)
        self._items, self._active = items, active
        return [_listed_controller(key, item) for key, item in items.items()]

    async def ping(self, target_id: str, trace: Trace) -> Any | Flagged:
        """Ping a controller, which takes its token besides its address."""
        item = self._items[target_id]
        fields = {
            "controllerHost": item.controller_host,
            "controllerPort": item.controller_port,
            "controllerAuthToken": secret_text(item.controller_auth_token) or "",
        }
        return await self.client.call(self.ping_action, fields, trace=trace)

    def should_ping(self, listed: Controller) -> bool:
        """Return whether a controller serves any active cluster."""
        return listed.controller in self._active

    def facts(self, info: ControllerInfo) -> dict[str, Any]:
        """Return what only controllers say of themselves."""
        return {
            "outdated": flag(info.cluster_controller_outdated),
            "start_timestamp_seconds": seconds(info.controller_startup_time_stamp),
            "memory_limit_bytes": parse_memory_size(info.java_max_memory),
        }


def _listed_controller(key: str, item: ControllerItem) -> Controller:
    return Controller(
        controller=key,
        host=item.controller_host or "",
        port=words(item.controller_port),
        protected=protected(item.controller_auth_token),
    )


def _is_active(item: ControllerItem) -> bool:
    """Return whether any of a controller's clusters is active, or none is known."""
    clusters = item.measuring_agent_clusters_array or ()
    return not clusters or any(flag(cluster.cluster_active) is not False for cluster in clusters)
