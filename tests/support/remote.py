"""Processes on several hosts that share one ledger, in simulated time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from exporter.lockout.members import Members
from exporter.metrics.telemetry import SelfMetrics
from exporter.sharding import Shard
from exporter.state.fallback import FallbackState
from tests.support.participants import Participant
from tests.support.state import RemoteStore, Server


if TYPE_CHECKING:
    from exporter.state.base import State
    from tests.support.portal import Portal


class Host:
    """A process with a heartbeat and a participant.

    Attributes:
        members: Its view of the other processes.
        participant: Its participant, which calls.
    """

    def __init__(self, portal: Portal, server: Server, **fields: Any) -> None:
        clock = portal.clock.clock
        self.state: State = FallbackState(
            RemoteStore(server), clock=clock, telemetry=SelfMetrics(clock=clock)
        )
        self.members = Members(
            self.state, namespace="prod", shard=Shard(), clock=clock, shared=True
        )
        self.participant = Participant(portal, self.state, turn=self.members.turn, **fields)
        self._clock = clock
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await self.members.beat()
            await self._clock.sleep(1.0)

    async def stop(self) -> None:
        """Stop in order."""
        self._task.cancel()
        await self.members.leave()
