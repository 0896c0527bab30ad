"""An Eggplant server's agents, which connect, disconnect and run models."""

from __future__ import annotations

import datetime as dt
import math
import random
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.simulator.world import STEADY, Machine, Timeline, Wave, World


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.clock import Clock
    from exporter.simulator.options import SimulatorOptions

_MODELS: Final = ("Checkout", "Login smoke", "Search")
_LOGS: Final = {
    "Running": "Executing action: Add to basket\r\n",
    "Passed": "Run complete\r\n",
    "Failed": "Image not found\r\n",
    "Incomplete": "",
}
_RUN_PERIOD_SECONDS: Final = 180.0
_RUN_SECONDS: Final = 70.0
_STUCK_SECONDS: Final = 36_000.0
_ADDRESS: Final = "10.0.0.5"
#: The server keeps this many runs per agent.
_KEPT_TURNS: Final = 20
_HALF_HOUR: Final = dt.timezone(dt.timedelta(hours=5, minutes=30))


class Tester(Machine, kw_only=True):
    """An agent. While it is down, it is not connected and not in the reply.

    Attributes:
        outcome: The outcome of its runs; `idle` for an agent without runs, `stuck` for an agent
            whose only run lost its engine hours ago and is still reported as running.
        modern: Whether replies lack the fields that the server's newer edition does not have.
        vanishing: Whether ended runs disappear from the status.
        loud: Whether states are in upper case.
        log: The newest log line; `None` for the usual line of the state.
    """

    name: str
    port: int
    outcome: Literal["Passed", "Failed", "Incomplete", "idle", "stuck"] = "Passed"
    modern: bool = False
    vanishing: bool = False
    loud: bool = False
    log: str | None = None

    @property
    def key(self) -> str:
        """The unique key: the name, or name and port if the name is an address."""
        return f"{self.name}:{self.port}" if self.name == _ADDRESS else self.name


class Server(msgspec.Struct, kw_only=True):
    """The server's own state: the only row of the table `servers`, with the id `main`.

    Attributes:
        licences: Maximum number of valid logins; `None` for no limit.
        life_seconds: Lifetime of tokens; `None` for that of the login scheme.
        status_offered: Whether the status endpoint exists; newer servers may not have it.
    """

    licences: int | None = None
    life_seconds: float | None = None
    status_offered: bool = True


_ROLES: Final[dict[int, dict[str, object]]] = {
    0: {"outcome": "idle"},
    1: {"vanishing": True},
    2: {"outcome": "Failed", "log": "Internal Error: cannot open the model\r\n"},
    3: {"wave": Wave(period_seconds=300, up_seconds=200, phase_seconds=90)},
    4: {"outcome": "Incomplete"},
    5: {"modern": True},
    # Two agents of one machine without configured names.
    6: {"name": _ADDRESS, "outcome": "idle", "port": 5400},
    7: {"name": _ADDRESS, "port": 5401},
    8: {"outcome": "stuck"},
}


class Lab(World):
    """All agents of one Eggplant server.

    Attributes:
        agents: Agents by name, or by name and port if two have the same name.
        servers: The server itself, with the id `main`.
    """

    kinds: ClassVar = frozenset({"agents", "servers"})

    def __init__(self, options: SimulatorOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(Timeline(clock, pace=options.pace, still=options.still))
        self._seed = options.seed
        self.servers = {"main": Server()}
        chance = random.Random(f"{options.seed}/eggplant")  # noqa: S311 - not secret
        self.agents = {agent.key: agent for agent in _testers(options.eggplant_agents, chance)}

    def names(self) -> list[str]:
        """Return the names of all agents, each once."""
        return list(dict.fromkeys(agent.name for agent in self.agents.values()))

    def connections(self) -> list[dict[str, Any]]:
        """Return the reply about the connected agents."""
        moment = self.timeline.moment()
        return [
            self._connection(agent, moment) for agent in self.agents.values() if agent.is_up(moment)
        ]

    def runs(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the runs whose fields have the wanted values, for each agent newest first."""
        moment = self.timeline.moment()
        found = [
            self._execution(agent, turn, moment)
            for agent in self.agents.values()
            if agent.outcome != "idle"
            for turn in self._turns(agent, moment)
        ]
        return [run for run in found if wanted.items() <= run.items()]

    def _turns(self, agent: Tester, moment: float) -> range:
        """Return the numbers of an agent's runs, newest first."""
        newest = 0 if agent.outcome == "stuck" else math.floor(self._turn(agent, moment))
        return range(newest, newest - (1 if agent.outcome == "stuck" else _KEPT_TURNS), -1)

    def _turn(self, agent: Tester, moment: float) -> float:
        return moment / _RUN_PERIOD_SECONDS + agent.jitter

    def _connection(self, agent: Tester, moment: float) -> dict[str, Any]:
        row: dict[str, Any] = {"agent_name": agent.name}
        if not agent.modern:
            row["port"] = agent.port
        if agent.outcome == "idle":
            return {**row, "process_id": 0}
        execution = self._execution(agent, self._turns(agent, moment)[0], moment)
        running = execution["endtime"] is None
        if agent.vanishing and not running:
            return {**row, "process_id": 0}
        row |= {
            "process_id": int(execution["processid"])
            if running and agent.outcome != "stuck"
            else 0,
            "execution_status": execution,
            "process_status": execution["status"],
        }
        if agent.modern:
            del execution["runid"]
        else:
            fitting = _LOGS["Running" if running else agent.outcome]
            row["last_log"] = fitting if agent.log is None else agent.log
        return row

    def _execution(self, agent: Tester, turn: int, moment: float) -> dict[str, Any]:
        """Return the present state of one run of an agent."""
        started = (turn - agent.jitter) * _RUN_PERIOD_SECONDS
        ended: float | None = started + _RUN_SECONDS
        if agent.outcome == "stuck":
            started, ended = -_STUCK_SECONDS, None
        running = ended is None or moment < ended
        status = "Running" if running else agent.outcome
        chance = random.Random(f"{self._seed}/{agent.key}/{turn}")  # noqa: S311 - not secret
        return {
            "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "modelname": chance.choice(_MODELS),
            "username": "tester@example.com",
            "starttime": self._time(agent, started),
            "endtime": None if running or ended is None else self._time(agent, ended),
            "type": chance.choice(("model", "directedTest")),
            "agentname": agent.name,
            "initiator": "api",
            "runid": None if running else str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "status": status.upper() if agent.loud else status,
            "processid": str(41_000 + turn % 20_000),
        }

    def _time(self, agent: Tester, moment: float) -> str:
        """Return a time in the vendor's format, in which a whole-hour offset has no minutes."""
        zone = _HALF_HOUR if agent.outcome == "Incomplete" else dt.UTC
        time = dt.datetime.fromtimestamp(self.timeline.unix(moment), zone)
        return time.isoformat(" ", "microseconds").removesuffix(":00")


def _testers(count: int, chance: random.Random) -> Iterator[Tester]:
    for index in range(count):
        agent = Tester(
            name=f"lab-{('win', 'mac', 'lin')[index % 3]}-{index // 3 + 1:02}",
            port=5400 + index,
            wave=STEADY,
            jitter=chance.random(),
        )
        for attribute, value in _ROLES.get(index, {}).items():
            setattr(agent, attribute, value)
        yield agent
