"""Cluster controllers (reference section 3.4), which have no id but their address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.config.secret import Secret
from exporter.fleet.readings import Controller, State
from exporter.sources.realload import actions
from exporter.sources.realload.actions import Flagged
from exporter.sources.realload.portal import Inventory, Portal, facts, flagged, target
from exporter.sources.realload.replies import (
    ControllerInfo,
    ControllerItem,
    ControllerPing,
)
from exporter.sources.realload.values import address, flag, memory, protected, seconds, text, words


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.sources.realload.client import Trace
    from exporter.sources.realload.rounds import Look


class _Address(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller is pinged with; the token is kept for that and shown by nothing."""

    host: str
    port: int | str
    token: Secret
    active: bool


class Controllers(Inventory[Controller, ControllerPing]):
    """The controllers of an account's clusters, each once however many clusters use it."""

    kind = "controllers"
    reply = ControllerPing

    def __init__(self, portal: Portal) -> None:
        super().__init__(portal)
        self._addresses: Mapping[str, _Address] = {}

    async def listing(self) -> list[Controller]:
        """Return all controllers, without a state."""
        reply = await self.portal.client.data(actions.CONTROLLERS)
        controllers: dict[str, Controller] = {}
        addresses: dict[str, _Address] = {}
        for item in reply.cluster_controllers_array or ():
            if not item.controller_host or item.controller_port is None:
                self.portal.surprise("missing_field")
                continue
            key = address(item.controller_host, item.controller_port)
            if key not in controllers:
                controllers[key] = _bare(key, item)
                addresses[key] = _Address(
                    host=item.controller_host,
                    port=item.controller_port,
                    token=Secret(value=text(item.controller_auth_token) or ""),
                    active=_active(item),
                )
            elif _active(item):
                addresses[key] = msgspec.structs.replace(addresses[key], active=True)
        self._addresses = addresses
        return list(controllers.values())

    async def ask(self, target_id: str, trace: Trace) -> ControllerPing | Flagged:
        """Ping a controller, which takes its token besides its address."""
        known = self._addresses[target_id]
        fields = {
            "controllerHost": known.host,
            "controllerPort": known.port,
            "controllerAuthToken": known.token.reveal(),
        }
        return await self.portal.client.call(actions.CONTROLLER_PING, fields, trace=trace)

    def key(self, reading: Controller) -> str:
        """Return its address."""
        return reading.controller

    def name(self, reading: Controller) -> str:
        """Return its address."""
        return reading.controller

    def pinged(self, bare: Controller) -> bool:
        """Leave out a controller that serves inactive clusters only."""
        return self._addresses[bare.controller].active

    def settled(
        self, bare: Controller, look: Look[ControllerPing] | None, before: Controller | None
    ) -> Controller:
        """Return a controller with its state; one that is not pinged has none."""
        state = before.state if before and self.pinged(bare) else None
        return target(bare, _state(look) if look else state, before)


def _active(item: ControllerItem) -> bool:
    """Tell whether any of a controller's clusters is active, which includes not knowing of any."""
    clusters = item.measuring_agent_clusters_array or ()
    return not clusters or any(flag(cluster.cluster_active) is not False for cluster in clusters)


def _bare(key: str, item: ControllerItem) -> Controller:
    return Controller(
        controller=key,
        host=item.controller_host or "",
        port=words(item.controller_port),
        protected=protected(item.controller_auth_token),
    )


def _state(look: Look[ControllerPing]) -> State:
    if isinstance(look.answer, Flagged):
        return State(**flagged(look.at, look.answer))
    info = look.answer.controller_response or ControllerInfo()
    return State(
        **facts(look.at, info),
        outdated=flag(info.cluster_controller_outdated),
        start_timestamp_seconds=seconds(info.controller_startup_time_stamp),
        memory_limit_bytes=memory(info.java_max_memory),
    )
