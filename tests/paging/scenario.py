"""The frame of a scenario: it changes its own source, and says what people are notified of.

A scenario waits for conditions. `told` waits until the given notifications were sent by every way.
`silence` waits for a notification about another scenario's later event, so that anything that
this scenario caused would have been sent, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload.fleet import AGENT_VERSION
from exporter.simulator.server import Simulation
from exporter.simulator.vendor import Command, Portal
from exporter.sources.registry import PROVIDERS
from tests.support.wait import until


if TYPE_CHECKING:
    from starlette.responses import Response

    from tests.paging.pager import Told
    from tests.paging.world import World


#: The two ways from a condition to Alertmanager.
PROMETHEUS, BUILT_IN = "prometheus", "built-in"
WAYS = (PROMETHEUS, BUILT_IN)

#: A pair that shares its state in Redis; neither can see that the other's process has ended.
PAIR = ("left", "right")


class UntoldError(Exception):
    """An expected notification was not sent, or an unexpected one was."""


#: The longest wait for an expected event.
PATIENCE_SECONDS = 60.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Events at one source, and the notifications they must lead to.

    Attributes:
        name: The name of its source.
        play: The script.
        provider: The source's provider.
        options: The size of its portal.
        tasks: The polled tasks.
        source: Further configuration of the source.
        at: The source's configuration that differs for one exporter.
        prepare: Changes the portal before the first poll.
        ways: The ways whose notifications are compared.
        exporters: The processes that watch the source.
        preflights: The preflights, by the part of the name after the scenario's.
        job: Whether Prometheus scrapes the source by a job of its own, as if its exporter watched
            nothing else.
    """

    name: str
    play: Callable[[Stage], Awaitable[None]]
    provider: str
    options: SimulatorOptions
    tasks: tuple[str, ...]
    source: Mapping[str, Any]
    at: Mapping[str, Mapping[str, Any]]
    prepare: Callable[[Simulation], None]
    ways: tuple[str, ...]
    exporters: tuple[str, ...]
    preflights: Mapping[str, Mapping[str, Any]]
    job: bool


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    *,
    provider: str = "realload",
    tasks: tuple[str, ...] = ("agents",),
    ways: tuple[str, ...] = WAYS,
    exporters: tuple[str, ...] = ("main",),
    job: bool = False,
    source: Mapping[str, Any] | None = None,
    at: Mapping[str, Mapping[str, Any]] | None = None,
    prepare: Callable[[Simulation], None] = lambda _: None,
    preflights: Mapping[str, Mapping[str, Any]] | None = None,
    **sizes: int,
) -> Callable[[Callable[[Stage], Awaitable[None]]], Callable[[Stage], Awaitable[None]]]:
    """Register a script as a scenario, under its name.

    `sizes` are those of the simulated fleet, which has nothing else in it. All other parameters are
    attributes of `Scenario`.
    """
    nothing = dict.fromkeys(
        ("agents", "controllers", "clusters", "recorders", "suites", "tests"), 0
    ) | dict.fromkeys(("blazemeter_agents", "blazemeter_locations", "eggplant_agents"), 0)

    def decorate(play: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
        name = play.__name__
        SCENARIOS[name] = Scenario(
            name=name,
            play=play,
            provider=provider,
            options=SimulatorOptions(still=True, **(nothing | sizes)),  # type: ignore[arg-type]
            tasks=tasks,
            source=source or {},
            at=at or {},
            prepare=prepare,
            ways=ways,
            exporters=exporters,
            preflights=preflights or {},
            job=job,
        )
        return play

    return decorate


class Stage:
    """A source of the world, and the notifications about it.

    Attributes:
        expected: For each way, the expected notifications, step by step.
        heard: For each way, the notifications that were sent.
        gone: Set by the scenario when the page about its dead exporter was sent.
        over: Set when the scenario has been played.
        problem: The error that ended the scenario early.
    """

    def __init__(self, scenario: Scenario, world: World) -> None:
        self.scenario = scenario
        self.world = world
        self.simulation = Simulation(scenario.options)
        heal(self.simulation)
        scenario.prepare(self.simulation)
        self.expected: dict[str, list[list[Told]]] = {way: [] for way in scenario.ways}
        self.heard: dict[str, list[list[Told]]] = {way: [[]] for way in WAYS}
        self.gone, self.over = asyncio.Event(), asyncio.Event()
        self.problem: Exception | None = None
        self._changes: list[Callable[[], None]] = []
        self._observe()

    @property
    def portal(self) -> Portal:
        """The portal of the simulated vendor."""
        portal: Portal = getattr(self.simulation, self.scenario.provider)
        return portal

    def source(self, exporter: str) -> dict[str, Any]:
        """Return the configuration of its source for an exporter."""
        wanted, name = self.scenario, self.scenario.name
        sources: list[dict[str, Any]] = self.simulation.configuration()["sources"]
        (fitting,) = [each for each in sources if wanted.provider == each["provider"]]
        known = PROVIDERS[wanted.provider].settings.TASKS
        ours: dict[str, Any] = {
            "name": name,
            "labels": {"site": "bern"},
            "tasks": {task: "off" for task in known if task not in wanted.tasks},
        }
        return fitting | ours | dict(wanted.source) | dict(wanted.at.get(exporter, {}))

    def preflights(self) -> list[dict[str, Any]]:
        """Return the configuration of its preflights, all of which are due."""
        wanted = self.scenario
        due = {"window": {"before": "00:00", "for": "1d"}}
        return [
            {"name": f"{wanted.name}/{name}", **due, **each}
            for name, each in wanted.preflights.items()
        ]

    async def play(self) -> None:
        """Play the scenario up to the first expectation that is not met."""
        try:
            await self.scenario.play(self)
        except UntoldError:
            pass  # the comparison shows it
        except Exception as error:  # noqa: BLE001 - raised by the scenario's test, and no other's
            self.problem = error
        finally:
            self.gone.set()
            self.over.set()

    async def change(self, kind: str, *keys: str, **changes: Any) -> None:
        """Change targets of the portal."""
        world = self.portal.world

        def apply() -> None:
            for key in keys:
                world.change(kind, key, **changes)

        await self.between_polls(apply)

    async def between_polls(self, change: Callable[[], None]) -> None:
        """Change the portal when a poll begins, so that no poll is in its midst."""
        self._changes.append(change)
        await until(lambda: change not in self._changes, timeout_seconds=PATIENCE_SECONDS)

    def obey(self, **command: Any) -> None:
        """Control the portal, as its control interface does."""
        self.portal.obey(Command(**command))

    def skip(self, seconds: float) -> None:
        """Move the portal's clock ahead, which stands still otherwise."""
        self.portal.world.timeline._anchor_moment += seconds

    async def polls(self, count: int = 2) -> None:
        """Wait for so many further polls, counted by their first call."""
        wanted = self._lists + count
        await until(lambda: self._lists >= wanted, timeout_seconds=PATIENCE_SECONDS)

    async def told(self, *both: Told, **more: Told) -> None:
        """Wait until these notifications were sent, in any order.

        Args:
            both: Notifications by both ways.
            more: Further notifications by one way only.

        Raises:
            UntoldError: A notification is missing; the comparison shows which.
        """
        self.expect(*both, **more)
        await self.as_expected()

    def expect(self, *both: Told, **more: Told) -> None:
        """Expect notifications from now on; see `told`."""
        for way, steps in self.expected.items():
            ours = [told for name, told in more.items() if name.replace("_", "-") == way]
            steps.append(sorted([*both, *ours]))
            # Notifications from before belong to the first step, too.
            if len(steps) > 1:
                self.heard[way].append([])

    async def as_expected(self) -> None:
        """Wait for the notifications expected last.

        Raises:
            UntoldError: A notification is missing.
        """

        def heard() -> bool:
            steps = self.expected.items()
            return all(len(self.heard[way][-1]) >= len(ours[-1]) for way, ours in steps)

        try:
            await until(heard, timeout_seconds=PATIENCE_SECONDS)
        except TimeoutError as error:
            raise UntoldError from error

    async def silence(self) -> None:
        """Wait long enough to know that no other notification was sent."""
        self.expect()
        await self.world.canary()

    def hear(self, way: str, told: Told) -> None:
        """Record a notification by one of the ways."""
        self.heard[way][-1].append(told)
        self.heard[way][-1].sort()

    def _observe(self) -> None:
        """Count the polls, and let changes happen when a poll begins."""
        portal, answer, lists = self.portal, self.portal.answer, _LISTS[self.scenario.provider]
        self._lists = 0

        async def observed(action: str, work: Callable[[], Awaitable[Response]]) -> Response:
            if action in lists:
                self._lists += 1
                while self._changes:
                    self._changes.pop()()
            return await answer(action, work)

        portal.answer = observed  # type: ignore[method-assign]


#: The calls with which a poll begins.
_LISTS = {
    "realload": ("getMeasuringAgents", "getTestExecutionSuites", "getProxyRecorders"),
    "blazemeter": ("masters",),
    "eggplant": ("sut_status",),
}


def heal(simulation: Simulation) -> None:
    """Make all simulated machines healthy."""
    for agent in simulation.fleet.agents.values():
        agent.up, agent.active, agent.outdated, agent.skew_seconds = True, True, False, 0.0
        agent.version, agent.token, agent.denied, agent.cloud = AGENT_VERSION, "token", False, False
    for tester in simulation.lab.agents.values():
        tester.up, tester.outcome, tester.log = True, "idle", None
