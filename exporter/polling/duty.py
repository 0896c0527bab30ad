"""The duty to poll a source: one of the processes with the same settings and state has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from exporter.polling.mirror import Mirror
from exporter.polling.poller import Kept, Poller
from exporter.state.leadership import Leadership, Role, Work


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.metrics.telemetry import SourceMetrics
    from exporter.polling.memory import Memory
    from exporter.sources.settings import SourceSettings
    from exporter.state.base import State


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """The actions of the engine when the duty passes.

    Attributes:
        poller: Returns the current poller of the source.
        begin: Starts polling, with a source that knows the former leader's readings.
        end: Stops polling and cancels the polls in flight.
        heard: Called when the poller shows new results of the leader.
    """

    poller: Callable[[], Poller]
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]
    heard: Callable[[], None]


class Duty:
    """This process's part in the polling of one source.

    Attributes:
        polls: Whether this process polls the source.
        is_behind: Whether the source does not know the newest readings of the leader.
        leadership: This process's part in the lease.
    """

    def __init__(  # noqa: PLR0913 - the last three by keyword
        self,
        settings: SourceSettings,
        memory: Memory,
        hooks: Hooks,
        *,
        state: State,
        clock: Clock,
        telemetry: SourceMetrics,
    ) -> None:
        """Prepare the duty; this process takes no part in the lease before `begin`.

        Args:
            settings: The settings of the source.
            memory: Holds the saved data of the source's tasks.
            hooks: The actions when the duty passes.
            state: Holds the lease; raises while the store cannot be used.
            clock: The source of time.
            telemetry: Shows whether this process polls.
        """
        self._hooks = hooks
        self._telemetry = telemetry
        self._mirror = Mirror(memory, clock=clock)
        self.polls = self.is_behind = False
        work = Work(
            described={"provider": settings.provider, "source": settings.name},
            changed=self._change,
            tells=lambda: self._mirror.tell(hooks.poller()),
            hears=self._hear,
            fails=lambda: hooks.poller().unreached,
            passed=telemetry.leader_changes.inc,
        )
        key = f"lead/{memory.identity(settings)}"
        self.leadership = Leadership(state, key, work, clock=clock)

    @property
    def may_poll(self) -> bool:
        """True while no other process may be polling, so that this process may send calls."""
        return not self.leadership.lapsed and self.leadership.role is not Role.STANDBY

    def begin(self) -> None:
        """Compete for the lease; this returns before it is decided which process polls."""
        self._telemetry.leads.set(0)
        self.leadership.begin()

    async def keep(self, kept: Kept) -> None:
        """Save the results of a poll, for standbys and for the next start."""
        fence = self.leadership.fence
        # A process that polls alone, without a fence, could overwrite a leader's document. While
        # the role is undecided, this process takes no part in the lease.
        if fence is not None or self.leadership.role is Role.UNDECIDED:
            await self._mirror.keep(self._hooks.poller(), kept, fence)

    async def hand_over(self) -> None:
        """Leave the source to another process at once, if a standby waits for it."""
        await self.leadership.rest()
        if self.polls and await self.leadership.has_standby():
            await self.leave()

    async def leave(self) -> None:
        """Stop polling and give the lease up."""
        await self.leadership.rest()
        # Before the lease is free, because another process then polls and writes.
        await self._change(Role.STANDBY)
        await self.leadership.leave()

    async def _change(self, role: Role) -> None:
        self._telemetry.leads.set(role.works)
        if role.works is self.polls:
            return
        self.polls = role.works
        await (self._hooks.begin() if role.works else self._hooks.end())

    async def _hear(self, message: bytes, age_seconds: float) -> None:
        await self._mirror.hear(self._hooks.poller(), message, age_seconds)
        self.is_behind = True
        self._hooks.heard()
