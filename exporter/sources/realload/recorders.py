"""Proxy recorders (reference section 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.fleet.readings import Recorder, RecorderState
from exporter.sources.decode import older
from exporter.sources.realload import actions
from exporter.sources.realload.actions import Flagged
from exporter.sources.realload.portal import Inventory, Portal, facts, flagged, target
from exporter.sources.realload.replies import RecorderInfo, RecorderItem, RecorderPing
from exporter.sources.realload.values import flag, measured, megabytes, protected, words


if TYPE_CHECKING:
    from exporter.sources.realload.account import AccountFacts
    from exporter.sources.realload.client import Trace
    from exporter.sources.realload.rounds import Look


class Recorders(Inventory[Recorder, RecorderPing]):
    """The recorders of an account; the portal has no flag for outdated ones."""

    kind = "recorders"
    reply = RecorderPing

    def __init__(self, portal: Portal, account: AccountFacts) -> None:
        super().__init__(portal)
        self._account = account
        self._minimum: str | None = None

    async def listing(self) -> list[Recorder]:
        """Return all recorders, without a state."""
        reply = await self.portal.client.data(actions.RECORDERS)
        self._minimum = await self._account.min_recorder_version()
        recorders = []
        for item in reply.proxy_recorders_array or ():
            if item.recorder_id is None:
                self.portal.surprise("missing_field")
                continue
            recorders.append(_bare(item))
        return recorders

    async def ask(self, target_id: str, trace: Trace) -> RecorderPing | Flagged:
        """Ping a recorder."""
        return await self.portal.client.call(
            actions.RECORDER_PING, {"recorderId": int(target_id)}, trace=trace
        )

    def key(self, reading: Recorder) -> str:
        """Return its id."""
        return reading.recorder_id

    def name(self, reading: Recorder) -> str:
        """Return its description."""
        return reading.recorder

    def settled(
        self, bare: Recorder, look: Look[RecorderPing] | None, before: Recorder | None
    ) -> Recorder:
        """Return a recorder with its state."""
        state = before.state if before else None
        return target(bare, self._state(look) if look else state, before)

    def _state(self, look: Look[RecorderPing]) -> RecorderState:
        if isinstance(look.answer, Flagged):
            return RecorderState(**flagged(look.at, look.answer))
        info = look.answer.pong_response or RecorderInfo()
        outdated = None
        if info.product_version is not None and self._minimum is not None:
            outdated = older(info.product_version, self._minimum)
        return RecorderState(
            **facts(look.at, info),
            outdated=outdated,
            component_version=info.recorder_component_version or "",
            memory_limit_bytes=megabytes(info.java_memory_mb),
            recording=flag(info.is_recording),
            recorded_elements=measured(info.num_recorded_elements),
        )


def _bare(item: RecorderItem) -> Recorder:
    return Recorder(
        recorder_id=str(item.recorder_id),
        recorder=item.recorder_description or str(item.recorder_id),
        host=item.recorder_proxy_host or "",
        port=words(item.recorder_proxy_port),
        protected=protected(item.recorder_control_auth_token),
    )
