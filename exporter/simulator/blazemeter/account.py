"""A BlazeMeter account: workspaces, tests with runs, private locations with agents."""

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
_NAMES: Final = (
    "Checkout load",
    "Search soak",
    "Warm-up",
    "Nightly smoke",
    "Login",
    "Returns",
    "Checkout multi-test",
    "API checks",
)
_PLACES: Final = ("Datacentre 1", "Cluster EU", "Spare", "Closed")
_PREFIXES: Final = {0: "dc1", 1: "k8s"}
_SHARED, _SPARE, _CLOSED = 1, 2, 3


class Workspace(msgspec.Struct, kw_only=True):
    """A workspace.

    Attributes:
        forbidden: Whether the API key has no access to it.
    """

    workspace_id: int
    name: str
    enabled: bool = True
    forbidden: bool = False


class Location(msgspec.Struct, kw_only=True):
    """A private location, which may belong to several workspaces."""

    location_id: str
    name: str
    workspaces: list[int]
    slots: int | None = 2
    threads_per_engine: int | None = 500
    disabled: bool = False


class Service(msgspec.Struct, kw_only=True):
    """The API's own state: the only row of the table `services`, with the id `main`.

    Attributes:
        page_cap: Maximum size of a page, whatever the request asks for.
        skip_ignored: Whether the API ignores `skip` and always returns the first page.
        lost_rows: Number of rows missing at the end of a list although the total counts them.
        totals_told: Whether lists of runs have a total; lists of a whole account never have one.
    """

    page_cap: int = 50
    skip_ignored: bool = False
    lost_rows: int = 0
    totals_told: bool = True


class Ship(Machine, kw_only=True):
    """An agent of a private location.

    Attributes:
        heartbeat: `told`, `hidden` (not in the reply) or `never` (the agent was never online).
        busy: Whether it is busy while any run is in flight.
        state: Replaces the true state in replies.
        disk_free_bytes: Free space of its host; `None` if the reply does not have it.
    """

    ship_id: str
    name: str
    location_id: str
    heartbeat: Literal["told", "hidden", "never"] = "told"
    busy: bool = False
    state: str | None = None
    disk_free_bytes: int | None = 70_525_837_312


_SHIP_ROLES: Final[dict[int, dict[str, object]]] = {
    1: {"busy": True},
    2: {"wave": Wave(period_seconds=2400, up_seconds=1200, phase_seconds=1080)},
    3: {"version": "3.6.10"},
    4: {"heartbeat": "never"},
    5: {"heartbeat": "hidden"},
}
_CLOSED_SHIP_INDEX: Final = 6
_TEST_ROLES: Final[dict[int, dict[str, object]]] = {
    0: {"engines": 2, "latest_seconds": 160.0},
    1: {"renamed": True},
    2: {"waits_seconds": 30.0},
    5: {"servers": 3, "missing_servers": 2},
    6: {"multi": True, "exit_code": 1},
    7: {"told_by": "functionalSummary"},
}


class Account(World):
    """The world that one API key has access to.

    Attributes:
        workspaces, locations, ships, tests: Objects by id.
        services: The API itself, with the id `main`.
    """

    kinds: ClassVar = frozenset({"workspaces", "locations", "ships", "tests", "services"})

    def __init__(self, options: SimulatorOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(Timeline(clock, pace=options.pace, still=options.still))
        chance = random.Random(f"{options.seed}/blazemeter")  # noqa: S311 - not secret
        self.services = {"main": Service()}
        first, second = 200_001, 200_002
        self.workspaces = {
            str(first): Workspace(workspace_id=first, name="Retail"),
            str(second): Workspace(workspace_id=second, name="Payments"),
        }
        self.locations = {
            location.location_id: location
            for location in _locations(options.blazemeter_locations, first, second)
        }
        homes = list(self.locations)
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
        """Return a ship's last heartbeat in Unix seconds; 0 for never, `None` if hidden."""
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


def _locations(count: int, first: int, second: int) -> Iterator[Location]:
    for index in range(count):
        yield Location(
            location_id=f"64f0c2a1b7e3d90012ab{0x34CD + index:04x}",
            name=_PLACES[index] if index < len(_PLACES) else f"Site {index + 1:02}",
            workspaces=[first, second] if index == _SHARED else [first],
            threads_per_engine=None if index == _SHARED else 500,
            disabled=index == _CLOSED,
        )


def _ships(count: int, locations: list[str], chance: random.Random) -> Iterator[Ship]:
    """Yield agents: four per location, none in the spare and silent ones in the closed location."""
    homes = [index for index in range(len(locations)) if index not in (_SPARE, _CLOSED)]
    for index in range(count if homes else 0):
        home = homes[index // 4 % len(homes)]
        ship = Ship(
            ship_id=f"64f0c2a1b7e3d900{0x12AB3501 + index:08x}",
            name=f"{_PREFIXES.get(home, f'site{home + 1}')}-agent-{index + 1}",
            location_id=locations[home],
            version=chance.choice(("3.7.55", "3.7.41")),
            jitter=chance.random(),
        )
        for attribute, value in _SHIP_ROLES.get(index, {}).items():
            setattr(ship, attribute, value)
        if index == _CLOSED_SHIP_INDEX and len(locations) > _CLOSED:
            ship.up, ship.location_id, ship.name = False, locations[_CLOSED], "closed-agent-1"
        yield ship


def _tests(count: int, workspaces: list[int], chance: random.Random) -> Iterator[LoadTest]:
    """Yield tests; the first six each show a different verdict."""
    for index in range(count):
        period = chance.uniform(300, 500)
        test = LoadTest(
            test_id=14_000_001 + index,
            name=_NAMES[index] if index < len(_NAMES) else f"Test {index + 1:02}",
            workspace_id=workspaces[0] if index % 6 < 4 else workspaces[1],
            verdicts=[VERDICTS[index % len(VERDICTS)]],
            period_seconds=period,
            latest_seconds=chance.uniform(0, period) if index else 0.0,
            users=chance.choice((20, 50, 200)),
        )
        for attribute, value in _TEST_ROLES.get(index, {}).items():
            setattr(test, attribute, value)
        yield test
