"""A simulated farm, and the farm as a candidate of the conformance suite."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from exporter.conformance.api import (
    Candidate,
    Machine,
    Portal,
    Timeline,
    World,
    application,
)

from . import FARM


if TYPE_CHECKING:
    from starlette.applications import Starlette

    from exporter.conformance.api import Clock, SimulatorOptions


TOKEN = "exporter:simulated-farm-password"  # invented, opens nothing


class Trial(msgspec.Struct, kw_only=True):
    """A test of the farm."""

    state: str = "running"
    passed: bool | None = None


class Farm(World):
    """The generators and the tests of a farm."""

    kinds: ClassVar = frozenset({"generators", "trials"})

    def __init__(self, options: SimulatorOptions, clock: Clock) -> None:
        super().__init__(Timeline(clock, pace=options.pace, still=options.still))
        self.generators = {str(n): Machine(version="2.1") for n in range(options.agents)}
        self.trials = {"1": Trial(state="done", passed=False), "2": Trial()}

    def list_generators(self) -> dict[str, Any]:
        """Make the reply to `GET /api/generators`."""
        moment = self.timeline.moment()
        return {
            "generators": [
                {
                    "id": f"g{key}",
                    "name": f"generator {key}",
                    "alive": machine.is_up(moment),
                    "version": machine.version,
                    "users": 7,
                    "owner": "tester@example.com",
                }
                for key, machine in self.generators.items()
            ]
        }

    def list_tests(self) -> dict[str, Any]:
        """Make the reply to `GET /api/tests`."""
        return {
            "tests": [
                {"id": f"t{key}", "name": "checkout", **msgspec.structs.asdict(trial)}
                for key, trial in self.trials.items()
            ]
        }


def vendor(options: SimulatorOptions, clock: Clock) -> Starlette:
    """Build the farm."""
    farm = Farm(options, clock)
    return application(
        Portal(farm, options, clock, TOKEN),
        {
            "GET /api/generators": lambda _: farm.list_generators(),
            "GET /api/tests": lambda _: farm.list_tests(),
        },
        authorization=lambda token: f"Basic {base64.b64encode(token.encode()).decode()}",
    )


def stop(farm: World) -> None:
    """Stop the newest test as a person would; the test before it failed."""
    farm.change("trials", "1", state="stopped")
    farm.change("trials", "2", state="stopped")


CANDIDATE = Candidate(
    name="farm",
    provider=FARM,
    vendor=vendor,
    settings=lambda url, file: {"url": url, "username": "exporter", "password_file": str(file)},
    credential=lambda token: token.partition(":")[2],
    allowed=r"GET /api/(generators|tests) ",
    operations={"agents": r"GET /api/generators .*", "runs": r"GET /api/tests .*"},
    interrupted=stop,
    emptied=frozenset({"generators"}),
    secret_fields=frozenset({"owner"}),
)
