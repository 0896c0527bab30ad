"""The duty to poll a source, which one of all processes with the same settings and state has."""

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
        poller: Returns the poller of the source, as it is now.
        begin: Begins to poll, with a source that knows what was heard from the leader before.
        end: Ends polling, calls under way included.
        heard: Called when the poller shows what the leader has told.
    """

    poller: Callable[[], Poller]
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]
    heard: Callable[[], None]


class Duty:
    """This process's part in the polling of one source.

    Attributes:
        polls: Whether this process polls the source.
        is_behind: Whether the leader has told of polls that the source does not know.
        leadership: The part in terms of the lease.
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
        """Take no part yet.

        Args:
            settings: Of the source.
            memory: Where what is known of its tasks is kept.
            hooks: What is done when the duty passes.
            state: Where the lease is; raises while the store cannot be used.
            clock: Where time comes from.
            telemetry: Shows who polls.
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
        """True if calls of polls may go out: not beside, and not after, another process's."""
        return not self.leadership.lapsed and self.leadership.role is not Role.STANDBY

    def begin(self) -> None:
        """Begin to take part; this returns before it is decided who polls."""
        self._telemetry.leads.set(0)
        self.leadership.begin()

    async def keep(self, kept: Kept) -> None:
        """Write what a poll has learnt, for standbys and for the next start."""
        fence = self.leadership.fence
        # Whoever polls alone could overwrite what a leader has written; undecided is who takes no
        # part in the lease at all.
        if fence is not None or self.leadership.role is Role.UNDECIDED:
            await self._mirror.keep(self._hooks.poller(), kept, fence)

    async def hand_over(self) -> None:
        """Leave the source to another process at once, if one waits for it."""
        await self.leadership.rest()
        if self.polls and await self.leadership.has_standby():
            await self.leave()

    async def leave(self) -> None:
        """Take no part any more; polls under way end."""
        await self.leadership.rest()
        # First: once the lease is free, another process polls and writes.
        await self._change(Role.STANDBY)
        await self.leadership.leave()

    async def _change(self, role: Role) -> None:
        self._telemetry.leads.set(role.works)
        if role.works is self.polls:
            return
        self.polls = role.works
        await (self._hooks.begin() if role.works else self._hooks.end())

    async def _hear(self, told: bytes, age_seconds: float) -> None:
        await self._mirror.hear(self._hooks.poller(), told, age_seconds)
        self.is_behind = True
        self._hooks.heard()
