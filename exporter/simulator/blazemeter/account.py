"""A BlazeMeter account: workspaces, tests with their runs, private locations with their agents."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.simulator.blazemeter.runs import VERDICTS, LoadTest, Run
from exporter.simulator.world import Machine, Timeline, Wave, World


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.clock import Clock
    from exporter.simulator.options import SimulatorOptions

ACCOUNT_ID: Final = 100_001
USER_ID: Final = 410_001
MIN_AGENT_VERSION: Final = "3.7.0"
_BEAT_SECONDS: Final = 30.0
_SILENT_SECONDS: Final = 3600.0
_NAMES: Final = ("Checkout load", "Search soak", "Warm-up", "Nightly smoke", "Login", "Returns")


class Workspace(msgspec.Struct, kw_only=True):
    """A workspace.

    Attributes:
        forbidden: Whether the key lacks the right to see into it.
    """

    workspace_id: int
    name: str
    enabled: bool = True
    forbidden: bool = False


class Location(msgspec.Struct, kw_only=True):
    """A private location; it may belong to several workspaces."""

    location_id: str
    name: str
    workspaces: list[int]
    slots: int = 2
    threads_per_engine: int | None = 500


class Ship(Machine, kw_only=True):
    """An agent of a private location.

    Attributes:
        heartbeat: `told`, `hidden` (the reply lacks it) or `never` (it was never online).
        busy: Whether it works whenever a run goes on.
    """

    ship_id: str
    name: str
    location_id: str
    heartbeat: Literal["told", "hidden", "never"] = "told"
    busy: bool = False


_SHIP_ROLES: Final[dict[int, dict[str, object]]] = {
    1: {"busy": True},
    2: {"wave": Wave(period_seconds=2400, up_seconds=1200, phase_seconds=1080)},
    3: {"version": "3.6.10"},
    4: {"heartbeat": "never"},
    5: {"heartbeat": "hidden"},
}


class Account(World):
    """All that one API key sees.

    Attributes:
        workspaces, locations, ships, tests: Things by id.
    """

    kinds: ClassVar = frozenset({"workspaces", "locations", "ships", "tests"})

    def __init__(self, options: SimulatorOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(Timeline(clock, pace=options.pace, still=options.still))
        chance = random.Random(f"{options.seed}/blazemeter")  # noqa: S311 - not secret
        first, second = 200_001, 200_002
        self.workspaces = {
            str(first): Workspace(workspace_id=first, name="Retail"),
            str(second): Workspace(workspace_id=second, name="Payments"),
        }
        places = (("Datacentre 1", [first]), ("Cluster EU", [first, second]), ("Spare", [first]))
        self.locations = {
            location.location_id: location
            for location in (
                Location(
                    location_id=f"64f0c2a1b7e3d90012ab34{0xCD + index:02x}",
                    name=name,
                    workspaces=workspaces,
                    threads_per_engine=None if index == 1 else 500,
                )
                for index, (name, workspaces) in enumerate(places)
            )
        }
        homes = list(self.locations)[:2]
        self.ships = {
            ship.ship_id: ship for ship in _ships(options.blazemeter_agents, homes, chance)
        }
        workspaces = [first, second]
        self.tests = {str(test.test_id): test for test in _tests(options.tests, workspaces, chance)}

    def runs(self) -> list[Run]:
        """Return all runs that have begun, the newest first."""
        moment = self.timeline.moment()
        runs = [run for test in self.tests.values() for run in test.runs(moment)]
        return sorted(runs, key=lambda run: (run.started, run.master_id), reverse=True)

    def run(self, master_id: str) -> Run | None:
        """Return a run by its id."""
        return next((run for run in self.runs() if str(run.master_id) == master_id), None)

    def heartbeat(self, ship: Ship) -> float | None:
        """Return when a ship was heard last, epoch seconds; 0 for never, `None` for not told."""
        if ship.heartbeat == "hidden":
            return None
        if ship.heartbeat == "never":
            return 0.0
        now, moment = self.timeline.now(), self.timeline.moment()
        if ship.is_up(moment):
            return now - ship.jitter * _BEAT_SECONDS
        if ship.up is False:
            return now - _SILENT_SECONDS
        return self.timeline.unix(ship.wave.went_down(moment))


def _ships(count: int, homes: list[str], chance: random.Random) -> Iterator[Ship]:
    for index in range(count):
        home = index // 4 % len(homes)
        ship = Ship(
            ship_id=f"64f0c2a1b7e3d900{0x12AB3501 + index:08x}",
            name=f"{('dc1', 'k8s')[home]}-agent-{index + 1}",
            location_id=homes[home],
            version=chance.choice(("3.7.55", "3.7.41")),
            jitter=chance.random(),
        )
        for attribute, value in _SHIP_ROLES.get(index, {}).items():
            setattr(ship, attribute, value)
        yield ship


def _tests(count: int, workspaces: list[int], chance: random.Random) -> Iterator[LoadTest]:
    """Make tests; each of the first six shows another verdict."""
    for index in range(count):
        period = chance.uniform(300, 500)
        yield LoadTest(
            test_id=14_000_001 + index,
            name=_NAMES[index] if index < len(_NAMES) else f"Test {index + 1:02}",
            workspace_id=workspaces[0] if index % 6 < 4 else workspaces[1],
            verdict=VERDICTS[index % len(VERDICTS)],
            engines=2 if index == 0 else 1,
            period_seconds=period,
            latest_seconds=100.0 if index == 0 else chance.uniform(0, period),
            users=chance.choice((20, 50, 200)),
        )
