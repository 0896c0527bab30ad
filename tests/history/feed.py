"""A history that is fed by hand, on a clock that a test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState, Outcome, Reading, Suite, SuiteRun, Usual
from exporter.fleet.store import Snapshot, Store
from exporter.history.history import History
from exporter.history.records import HOUR
from exporter.state.place import Place
from tests.support.clock import FakeClock
from tests.support.databases import closed_at_the_end


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.clock import Moment
    from exporter.history.summary import TargetHistory


DAY = 24 * HOUR

KEEP = 30.0 * DAY


def place(folder: Path) -> Place:
    """Return where the history is, in a folder that is on no network."""
    return Place(folder, name="history.db", setting="history.path", mounts=lambda: "")


class Feed:
    """An exporter's store and history."""

    def __init__(
        self, folder: Path | None, clock: FakeClock | None = None, *, max_bytes: int = 2**30
    ) -> None:
        self.clock = clock or FakeClock()
        self.store = Store(self.clock.clock)
        self.history = History(
            None if folder is None else place(folder),
            keep_seconds=KEEP,
            max_bytes=max_bytes,
            clock=self.clock.clock,
        )
        closed_at_the_end(self.history._worker, self.history._database)
        self.history.follow(self.store)

    async def begin(self) -> Feed:
        """Open the file, a moment before anything is read."""
        await self.history.begin()
        self.clock.shift(1)
        return self

    async def put(self, *readings: Reading, task: str = "agents", restored: bool = False) -> None:
        """Publish a poll that ends now, with these readings."""
        self.store.put(
            Snapshot(
                provider="realload",
                source="prod",
                task=task,
                readings=readings,
                taken=self.now,
                stale_after=180.0,
                restored=restored,
            )
        )
        await self.history.catch_up()

    async def polls(self, *outcomes: bool | None, seconds: float = 60.0) -> None:
        """Poll one agent so often, and wait for the next poll each time."""
        for up in outcomes:
            await self.put(self.agent(up=up))
            self.clock.shift(seconds)

    async def runs(
        self,
        *durations: float,
        outcome: Outcome = Outcome.PASSED,
        apart: float = HOUR,
        **facts: Any,
    ) -> None:
        """Publish ended runs of a suite, one after the other, then write and compare."""
        for seconds in durations:
            self.clock.shift(apart)
            now = self.clock.unix
            known: dict[str, Any] = {
                "run_id": f"{now:.0f}",
                "outcome": outcome,
                "start_timestamp_seconds": now - seconds,
                "end_timestamp_seconds": now,
                "duration_seconds": seconds,
            }
            run = SuiteRun(**(known | facts))
            await self.put(Suite(suite_id="3", suite="nightly", last_run=run), task="suites")
        await self.history.flush()
        await self.history.compare()

    def usual(self, suite_id: str = "3") -> Usual | None:
        """Return what is usual of a suite."""
        found = self.history.usual("prod")
        return None if found is None else found.suites.get(suite_id)

    def agent(self, agent_id: str = "7", *, up: bool | None = True, **facts: Any) -> Agent:
        """Return an agent that was read now."""
        state = AgentState(
            read_at=facts.pop("read_at", self.now),
            up=up,
            reason=Reason.NOT_REACHABLE if up is False else None,
            outdated=facts.pop("outdated", None),
            ping_duration_seconds=facts.pop("ping", 0.125),
        )
        known: dict[str, Any] = {"agent_id": agent_id, "agent": "ubuntu", "state": state}
        return Agent(**(known | facts))

    @property
    def now(self) -> Moment:
        """The clock's moment."""
        return self.clock.clock.now()

    async def of(self, target_id: str = "7", kind: str = "agent") -> TargetHistory | None:
        """Return the history of a target."""
        return await self.history.of("prod", kind, target_id, self.clock.unix)

    async def conditions(self, target_id: str = "7", kind: str = "agent") -> list[str]:
        """Return the conditions of a target, the oldest first."""
        found = await self.of(target_id, kind)
        return [] if found is None else [each.condition for each in reversed(found.transitions)]

    async def readings(self) -> tuple[int, int]:
        """Return how many readings of the agent were up and down."""
        found = await self.of()
        if found is None:
            return (0, 0)
        return (
            sum(each.readings_up for each in found.hours),
            sum(each.readings_down for each in found.hours),
        )
