"""A world in which everything is replaced all the time: machines, suites, runs, secrets.

New targets have names and ids that were never there before, since label sets that come and go are
the usual leak of exporters.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import bcrypt
import yaml

from exporter.simulator.blazemeter.runs import LoadTest
from exporter.simulator.eggplant import app as eggplant
from exporter.simulator.eggplant.lab import Tester
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload.fleet import AGENT_VERSION, Agent
from exporter.simulator.realload.runs import Suite
from exporter.simulator.server import Simulation
from exporter.simulator.vendor import Command
from exporter.simulator.world import STEADY, Wave
from tests.support.certificates import Authority


if TYPE_CHECKING:
    from pathlib import Path
    from random import Random


USER, PASSWORD = "soak", "soak-password"

HOUR_SECONDS = 3600.0

#: Agents that never go, since suites and clusters name them.
RESIDENTS = 20

#: The speed of the vendors' clocks. Slower than the hours of the test: a run is followed for ten
#: real minutes after its end, so too many would be followed at once.
PACE = 5.0

#: The share of the fleet replaced at each step.
RENEWED = 0.5

#: One of so many new agents goes down now and then. Few, because the ends of alerts are kept for a
#: fixed real time, however fast an hour passes.
WEAK = 50

#: The shortest interval, however fast an hour passes.
SHORTEST_SECONDS = 0.5

_SHORT_TASKS = ("agents", "controllers", "clusters", "recorders", "suites")


class World:
    """The vendors and the exporter's files, with the changes made to them.

    Attributes:
        rate: Simulated hours per real hour.
        simulation: The vendors.
        came: The number of new targets, without those of the beginning.
        authority: The authority that the exporter's clients trust.
        file: The configuration.
        web: The web configuration.
    """

    def __init__(self, folder: Path, *, rate: float, chance: Random, state: dict[str, str]) -> None:
        """Make the world, without serving it.

        Args:
            folder: The folder of the files.
            rate: Simulated hours per real hour.
            chance: The source of randomness.
            state: The configuration's `state`.
        """
        self.rate = rate
        self.simulation = Simulation(SimulatorOptions(pace=PACE, agents=RESIDENTS))
        self.came = 0
        self.file = folder / "loadfleet.yml"
        self.authority = Authority(folder / "tls")
        self.authority.issue()
        self.web = self.authority.path.parent / "web.yml"
        self._folder = folder
        self._chance = chance
        self._state = state
        self._next = 100_000
        self._edited = 0
        self._guest = False
        self.receiver = ""
        self._visiting: tuple[str, str] | None = None
        self._secrets = {name: folder / f"{name}.secret" for name in ("realload", "eggplant")}
        self._hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()

    def begin(self, receiver: str) -> None:
        """Write the files, once the vendors are served.

        Args:
            receiver: The URL of the Alertmanager.
        """
        self.receiver = receiver
        self._write_secret("realload", self.simulation.realload_token)
        self._write_secret("eggplant", eggplant.ACCESS_TOKEN)
        self._write_web()
        self._write()

    def seconds(self, simulated: float) -> float:
        """Return the real seconds of so many simulated ones."""
        return simulated / self.rate

    def interval(self, simulated: float) -> str:
        """Return an interval as a setting, shortened like the time."""
        return f"{max(SHORTEST_SECONDS, self.seconds(simulated)) * 1e3:.0f}ms"

    @property
    def shortest_seconds(self) -> float:
        """Return the interval of most tasks."""
        return max(SHORTEST_SECONDS, self.seconds(60))

    def shown(self) -> set[str]:
        """Return the ids of the Real Load agents that must be shown, up or down."""
        agents = self.simulation.fleet.agents
        return {key for key, agent in agents.items() if agent.active}

    def calls(self) -> int:
        """Count the calls that the vendors have answered."""
        simulation = self.simulation
        portals = (simulation.realload, simulation.blazemeter, simulation.eggplant)
        return sum(portal.calls.total() for portal in portals)

    def step(self, size: int) -> None:
        """Replace a part of the fleet, and bring it to a size."""
        agents = self.simulation.fleet.agents
        guests = list(agents)[RESIDENTS:]
        leaving = max(int(len(guests) * RENEWED), len(agents) - size)
        for key in self._chance.sample(guests, min(leaving, len(guests))):
            del agents[key]
        while len(agents) < size:
            agent = self._agent(self._new())
            agents[str(agent.agent_id)] = agent

    def turn_over(self) -> None:
        """Replace a suite, a BlazeMeter test and an Eggplant agent by new ones."""
        simulation, number = self.simulation, self._new()
        suite = Suite(
            suite_id=number,
            name=f"Soak {number}",
            place="m-41",
            period_seconds=self._paced(600),
            duration_seconds=self._paced(200),
            latest_seconds=-simulation.fleet.timeline.moment(),
            seed=str(number),
        )
        simulation.fleet.suites[str(number)] = suite
        test = LoadTest(
            test_id=number,
            name=f"Soak {number}",
            workspace_id=200_001,
            history=1,
            latest_seconds=-simulation.account.timeline.moment(),
        )
        simulation.account.tests[str(number)] = test
        tester = Tester(name=f"soak-{number}", port=5400, wave=STEADY)
        simulation.lab.agents[tester.key] = tester
        self.came += 2
        if self._visiting:
            suites, tests, testers = (
                simulation.fleet.suites,
                simulation.account.tests,
                simulation.lab,
            )
            del suites[self._visiting[0]], tests[self._visiting[0]]
            del testers.agents[self._visiting[1]]
        self._visiting = (str(number), tester.key)

    def edit(self, *, guest: bool | None = None) -> None:
        """Change the settings of a source and of the alerts, and add or remove a source."""
        self._edited += 1
        self._guest = self._guest if guest is None else guest
        self._write()

    def rotate(self, name: str) -> None:
        """Let a vendor accept another token from now on, and write that to its file."""
        token = f"rotated-{self._new()}"
        portals = {"realload": self.simulation.realload, "eggplant": self.simulation.eggplant}
        portals[name].obey(Command(token=token))
        self._write_secret(name, token)

    def _paced(self, seconds: float) -> float:
        """Return so many seconds of the test's hour by the vendors' clocks."""
        return self.seconds(seconds) * PACE

    def _new(self) -> int:
        self._next += 1
        self.came += 1
        return self._next

    def _agent(self, number: int) -> Agent:
        wave = STEADY
        if number % WEAK == 0:
            period = self._paced(900)
            phase = period * self._chance.random()
            wave = Wave(period_seconds=period, up_seconds=period * 0.8, phase_seconds=phase)
        return Agent(
            agent_id=number,
            description=f"soak-{number}",
            host=f"soak-{number}.load.example.net",
            token="simulated",
            version=AGENT_VERSION,
            wave=wave,
            jitter=self._chance.random(),
        )

    def _write_secret(self, name: str, text: str) -> None:
        _replace(self._secrets[name], text)

    def _write_web(self) -> None:
        self.authority.configure(basic_auth_users={USER: self._hash})

    def _write(self) -> None:
        _replace(self.file, yaml.safe_dump(self._configuration()))

    def _configuration(self) -> dict[str, Any]:
        minute, simulation = self.interval(60), self.simulation
        common = {"timeout": f"{self._timeout_ms + self._edited % 7}ms"}
        realload, account, lab = simulation.configuration()["sources"]
        del realload["auth_token"], lab["auth"]
        realload |= common | {
            "auth_token_file": str(self._secrets["realload"]),
            "concurrency": 32,
            "tasks": dict.fromkeys(_SHORT_TASKS, minute) | {"versions": self.interval(600)},
        }
        account |= {
            "run_linger": self.interval(HOUR_SECONDS / 4),
            # Deleted tests are forgotten with their newest run, within `lookback`.
            "lookback": f"{max(120.0, self.seconds(2 * HOUR_SECONDS)):.0f}s",
            "tasks": dict.fromkeys(("runs", "agents"), minute),
        }
        lab |= {
            "auth": {"access_token_file": str(self._secrets["eggplant"])},
            "remember_for": self.interval(HOUR_SECONDS / 4),
            "run_linger": self.interval(HOUR_SECONDS / 4),
            "tasks": {"agents": minute},
        }
        guest = lab | {
            "name": "guest",
            "auth": {"token_url": simulation.eggplant_url + eggplant.REALM_PATH} | eggplant.CLIENT,
        }
        return {
            "defaults": {
                "timeout": f"{self._timeout_ms}ms",
                "stale_after": "90s",
                "auth_retry": "60s",
            },
            "sources": [realload, account, lab, *([guest] if self._guest else [])],
            "alerting": {
                "alertmanagers": [self.receiver],
                "thresholds": {
                    "for_scale": 1 / self.rate,
                    "clock_skew": f"{5 + self._edited % 3}s",
                },
                "evaluation_interval": self.interval(15),
                "resend_interval": self.interval(60),
            },
            "state": self._state,
            "history": {"path": str(self._folder / "history")},
        }

    @property
    def _timeout_ms(self) -> int:
        return int(max(SHORTEST_SECONDS, self.seconds(60)) * 800)


def _replace(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)  # noqa: PTH105 - in one step, as secrets' mounts do
