"""Participants of one ledger, like several processes, in simulated time."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from exporter.errors import StateError
from exporter.lockout import keeper
from exporter.lockout.guard import Guard
from exporter.lockout.ledger import Ledger
from exporter.lockout.policy import Policy
from exporter.lockout.queue import Priority
from tests.support.portal import Portal, end


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from exporter.lockout.record import Answer, Report, Turn
    from exporter.state.base import State
    from tests.support.clock import FakeClock


URL = "https://portal.example.net"


class _Ledger(Ledger):
    """A ledger as a participant reaches it: late during a stall, never once it is killed."""

    def __init__(self, state: State, url: str, clock: FakeClock) -> None:
        super().__init__(state, url, Policy(block="15 to 30 minutes"))
        self._clock = clock
        self.stalls_until = 0.0
        self.is_late = False
        self.is_killed = False
        self.is_away = False

    async def step(self, report: Report, *, retry_seconds: float) -> Answer:
        if not self.is_late:
            await self._stall()
        if self.is_away:
            raise StateError("the store is away")
        answer = await super().step(report, retry_seconds=retry_seconds)
        await self._stall()
        return answer

    async def _stall(self) -> None:
        while self._clock.monotonic < self.stalls_until:
            await self._clock.clock.sleep(self.stalls_until - self._clock.monotonic)
        if self.is_killed:
            raise asyncio.CancelledError


class Participant:
    """A process that polls a portal through a guard of its own.

    Attributes:
        secret: The secret of its calls.
        busiest: The most calls under way at once, the proof included.
    """

    def __init__(
        self,
        portal: Portal,
        state: State,
        *,
        secret: str = "a",
        url: str = URL,
        concurrency: int = 3,
        retry_seconds: float = 300.0,
        turn: Callable[[], Turn | None] = lambda: None,
        proof_seconds: float = 0.1,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.portal = portal
        self.secret = secret
        self.concurrency = concurrency
        self.busiest = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.under_way = 0
        self._proof_seconds = proof_seconds
        self._watch = watch
        self._clock = portal.clock
        self._ledger = _Ledger(state, url, portal.clock)
        self._sent: set[asyncio.Task[Any]] = set()
        self.guard = Guard(
            keeper.Participant(
                concurrency=concurrency,
                retry_seconds=retry_seconds,
                proof=self._proof,
                fingerprint=lambda: self.secret,
                ledger=self._ledger,
                clock=portal.clock.clock,
                turn=turn,
            )
        )

    @property
    def is_well(self) -> bool:
        """True if the participant neither stalls nor was killed."""
        ledger = self._ledger
        return not ledger.is_killed and self._clock.monotonic >= ledger.stalls_until

    def ping(self, number: int = 1, **fields: Any) -> list[asyncio.Task[Any]]:
        """Begin calls; `fields` go to the guard (target, priority) and to `Portal.ping`."""
        return [self.begin(self.call(**fields)) for _ in range(number)]

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task that ends when the participant is killed."""
        task = asyncio.create_task(work)
        task.add_done_callback(_heard)
        self.tasks.append(task)
        return task

    async def call(
        self, *, target: str = "", priority: Priority = Priority.NORMAL, **fields: Any
    ) -> str:
        """Call through the guard."""
        attempt = partial(self._ping, **fields)
        return await self.guard.call(attempt, target=target, priority=priority)

    async def calls(self, number: int = 1, seconds: float = 30.0, **fields: Any) -> list[str]:
        """Call, let time pass, and return how the calls ended."""
        return await end(self._clock, self.ping(number, **fields), seconds)

    async def _ping(self, **fields: Any) -> str:
        return str(await self._on_the_wire(self.portal.ping(**fields, secret=self.secret)))

    async def _proof(self) -> None:
        await self._on_the_wire(self.portal.proof(self.secret, self._proof_seconds))

    async def _on_the_wire(self, call: Any) -> Any:
        if self._ledger.is_killed:
            call.close()
            raise asyncio.CancelledError
        self.under_way += 1
        self.busiest = max(self.busiest, self.under_way)
        self._watch()
        task = asyncio.create_task(call)
        task.add_done_callback(self._home)
        return await asyncio.shield(task)

    def _home(self, task: asyncio.Task[Any]) -> None:
        self.under_way -= 1
        _heard(task)

    def kill(self) -> None:
        """Kill the participant; the portal still answers its calls under way."""
        self._ledger.is_killed = True
        for task in self.tasks:
            task.cancel()

    def stall(self, seconds: float, *, late: bool = False) -> None:
        """Delay its access to the ledger, or the ledger's answers, for some time."""
        self._ledger.stalls_until = self._clock.monotonic + seconds
        self._ledger.is_late = late

    def lose_ledger(self, *, away: bool = True) -> None:
        """Let each step of the ledger fail, or no longer."""
        self._ledger.is_away = away


def _heard(task: asyncio.Task[Any]) -> None:
    """Retrieve a task's error, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()
