"""Vendors that run sixty times as fast as real ones, and the truth about their machines."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from exporter.clock import SYSTEM_CLOCK
from exporter.conformance.front import Front
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.vendor import Command
from exporter.simulator.world import STEADY, Machine, World
from tests.support.candidates import CANDIDATES


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from exporter.conformance.candidate import Candidate


PACE = 60.0

#: The interval of the polls.
INTERVAL_SECONDS = 1.0


class Terms(NamedTuple):
    """The time limits that the exporters are configured and judged by.

    Attributes:
        stale_seconds: The greatest age of a reading.
        recovery_seconds: The longest time after a disturbance until a source is polled well again.
    """

    stale_seconds: float
    recovery_seconds: float


#: Terms of a single exporter: after four refusals, its guard waits for a minute.
ALONE = Terms(stale_seconds=10.0, recovery_seconds=75.0)

#: Terms of a pair: without its store, it sends nothing for 71 seconds; for two minutes after the
#: store is back, a call that may be refused waits for the other process's.
PAIR = Terms(stale_seconds=180.0, recovery_seconds=300.0)


class Target(NamedTuple):
    """A machine as a sample names it: the family of its `up`, and its id."""

    family: str
    id: str


#: For each table of a world: the family that says whether its targets are up, and the id's label.
FAMILIES = {
    "agents": ("loadfleet_agent_up", "agent_id"),
    "ships": ("loadfleet_agent_up", "agent_id"),
    "controllers": ("loadfleet_controller_up", "controller"),
    "recorders": ("loadfleet_recorder_up", "recorder_id"),
}


class Source:
    """A vendor's server, with the file that holds the exporter's credential.

    Attributes:
        well_since: The time since which all its tasks are polled well; `None` while they are not.
        spells: The disturbed times, from the beginning to the recovery, monotonic.
    """

    def __init__(self, name: str, candidate: Candidate, folder: Path, seed: int) -> None:
        options = SimulatorOptions(
            seed=seed,
            pace=PACE,
            agents=14,
            clusters=3,
            blazemeter_agents=6,
            eggplant_agents=6,
            delay_seconds=0.005,
        )
        app = candidate.vendor(options, SYSTEM_CLOCK)
        self.name = name
        self.candidate = candidate
        self.portal = app.state.portal
        self.world: World = app.state.portal.world
        self.front = Front(app)
        self.file = folder / f"{name}.secret"
        self.well_since: float | None = None
        self.spells = [(time.monotonic(), math.inf)]
        self._calls: deque[float] = deque(maxlen=10_000)
        self.front.before = lambda _: self._calls.append(time.monotonic())
        self._under_way = 0
        self._ended = self._began = time.monotonic()
        self._forced: dict[Target, float] = {}
        self._tokens = 0
        self.write_secret()

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """Mark the time in which polls may fail."""
        if self.well_since is not None:
            self.spells.append((time.monotonic(), math.inf))
        self.well_since = None
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._ended = time.monotonic()

    @property
    def ended(self) -> float | None:
        """The end of the newest disturbance; `None` during one."""
        return None if self._under_way else self._ended

    def recovered(self, at: float) -> None:
        """Record that the source is well again."""
        self.well_since = at
        self.spells[-1] = (self.spells[-1][0], at)

    def longest_spell(self, since: float) -> float:
        """Return the longest disturbance after a time, in seconds."""
        now = time.monotonic()
        return max((min(end, now) - begin for begin, end in self.spells if end > since), default=0)

    def calls_since(self, begin: float) -> int:
        """Count the calls that came since a time, monotonic."""
        return sum(at >= begin for at in self._calls)

    def configuration(self, **more: Any) -> dict[str, Any]:
        """Return the source's part of the exporter's configuration."""
        expected = {}
        if self.candidate.provider.name == "eggplant":
            expected = {"expected_agents": list(self.world.table("agents"))}
        connected = self.candidate.connected(self.front.url, self.file)
        return {**connected, "name": self.name, **expected, **more}

    def machines(self) -> Iterator[tuple[Target, Machine]]:
        """Yield the machines that must be shown, up or down."""
        clusters = self.world.table("clusters") if "clusters" in self.world.kinds else {}
        # A controller whose clusters are all inactive is never judged.
        idle = {each.controller for each in clusters.values()} - {
            each.controller for each in clusters.values() if each.active
        }
        for kind, (family, _) in FAMILIES.items():
            for key, machine in (
                self.world.table(kind) if kind in self.world.kinds else {}
            ).items():
                told = getattr(machine, "heartbeat", "told") == "told"
                if getattr(machine, "active", True) and told and key not in idle:
                    yield Target(family, key), machine

    def up_seconds(self, machine: Machine, target: Target) -> float:
        """Return for how long a machine has been up without a break, 0 if it is down."""
        now, moment = time.monotonic(), self.world.timeline.moment()
        if not machine.is_up(moment):
            return 0.0
        since = max(self._began, self._forced.get(target, 0.0))
        came_up = machine.wave.came_up(moment)
        if machine.up is None and came_up is not None:
            since = max(since, now - (moment - came_up) / PACE)
        return now - since

    def steady(self) -> list[Target]:
        """Return the agents that go down only when a disturbance forces them to."""
        return [
            target
            for target, machine in self.machines()
            if target.family == "loadfleet_agent_up"
            and machine.wave is STEADY
            and machine.up is not False
        ]

    def force(self, target: Target, *, up: bool) -> None:
        """Take a machine down, or bring it up."""
        kind = "ships" if "ships" in self.world.kinds else "agents"
        self.world.change(kind, target.id, up=up)
        self._forced[target] = time.monotonic()

    def rotate(self) -> None:
        """Let the vendor accept another credential from now on; the file has the old one."""
        self._tokens += 1
        name, colon, _ = (self.portal.token or "").partition(":")
        token = f"{name}{colon}rotated-{self._tokens}" if colon else f"rotated-{self._tokens}"
        self.portal.obey(Command(token=token))

    def write_secret(self) -> None:
        """Replace the file by one with the credential that is accepted."""
        fresh = self.file.with_suffix(".new")
        self.candidate.written(self.portal, fresh)
        os.replace(fresh, self.file)  # noqa: PTH105 - in one step, as secrets' mounts do

    def most_refusals(self) -> int:
        """Count the refused calls of the worst minute."""
        times = self.portal.refused
        return max((sum(at <= each < at + 60 for each in times) for at in times), default=0)


class Vendors:
    """A source for each way to log in; the last one comes and goes with the configuration.

    Attributes:
        terms: The exporters' time limits.
        sources: The sources that are always configured, by name.
        guest: The source that comes and goes.
    """

    def __init__(self, folder: Path, seed: int, terms: Terms) -> None:
        self.terms = terms
        made = {
            candidate.name: Source(candidate.name, candidate, folder, seed)
            for candidate in CANDIDATES
        }
        self.guest = made.pop("eggplant-login")
        self.sources = made
        self._stack = AsyncExitStack()

    def of(self, name: str) -> Source:
        """Return a source by its name."""
        return self.guest if name == self.guest.name else self.sources[name]

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """Mark the time in which polls of any source may fail."""
        with ExitStack() as stack:
            for source in self.sources.values():
                stack.enter_context(source.disturbed())
            yield

    @property
    def all(self) -> tuple[Source, ...]:
        """Return all sources."""
        return (*self.sources.values(), self.guest)

    async def __aenter__(self) -> Self:
        for source in self.all:
            await self._stack.enter_async_context(source.front)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)
