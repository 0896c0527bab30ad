"""An Eggplant server's agents, which come and go and run models."""

from __future__ import annotations

import datetime as dt
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
_HALF_HOUR: Final = dt.timezone(dt.timedelta(hours=5, minutes=30))


class Tester(Machine, kw_only=True):
    """An agent; when it is not up it is not connected and absent from the reply.

    Attributes:
        outcome: What its runs end with; `idle` for an agent that never ran anything.
        modern: Whether the fields are left out that the newer edition lacks.
    """

    name: str
    port: int
    outcome: Literal["Passed", "Failed", "Incomplete", "idle"] = "Passed"
    modern: bool = False


class Server(msgspec.Struct, kw_only=True):
    """The server's own state, the only row of the table `servers`, with the id `main`.

    Attributes:
        licences: How many logins may be alive at once; `None` for any number.
        life_seconds: How long tokens live; `None` for what the scheme says.
        status_offered: Whether the status endpoint exists; newer servers may lack it.
    """

    licences: int | None = None
    life_seconds: float | None = None
    status_offered: bool = True


_ROLES: Final[dict[int, dict[str, object]]] = {
    0: {"outcome": "idle"},
    2: {"outcome": "Failed"},
    3: {"wave": Wave(period_seconds=300, up_seconds=200, phase_seconds=90)},
    4: {"outcome": "Incomplete"},
    5: {"modern": True},
}


class Lab(World):
    """All agents of one Eggplant server.

    Attributes:
        agents: Agents by name.
        servers: The server itself, under `main`.
    """

    kinds: ClassVar = frozenset({"agents", "servers"})

    def __init__(self, options: SimulatorOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(Timeline(clock, pace=options.pace, still=options.still))
        self._seed = options.seed
        self.servers = {"main": Server()}
        chance = random.Random(f"{options.seed}/eggplant")  # noqa: S311 - not secret
        self.agents = {agent.name: agent for agent in _testers(options.eggplant_agents, chance)}

    def connections(self) -> list[dict[str, Any]]:
        """Build the reply: the agents that are connected now."""
        moment = self.timeline.moment()
        return [
            self._connection(agent, moment) for agent in self.agents.values() if agent.is_up(moment)
        ]

    def _connection(self, agent: Tester, moment: float) -> dict[str, Any]:
        row: dict[str, Any] = {"agent_name": agent.name}
        if not agent.modern:
            row["port"] = agent.port
        if agent.outcome == "idle":
            return {**row, "process_id": 0}
        turn, into = divmod(moment + agent.jitter * _RUN_PERIOD_SECONDS, _RUN_PERIOD_SECONDS)
        running = into < _RUN_SECONDS
        status = "Running" if running else agent.outcome
        process_id = 41_000 + int(turn) % 20_000
        started = moment - into
        chance = random.Random(f"{self._seed}/{agent.name}/{turn:.0f}")  # noqa: S311 - not secret
        execution: dict[str, Any] = {
            "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "modelname": chance.choice(_MODELS),
            "username": "tester@example.com",
            "starttime": self._time(agent, started),
            "endtime": None if running else self._time(agent, started + _RUN_SECONDS),
            "type": chance.choice(("model", "directedTest")),
            "agentname": agent.name,
            "initiator": "api",
            "runid": None if running else str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "status": status,
            "processid": str(process_id),
        }
        row |= {
            "process_id": process_id if running else 0,
            "execution_status": execution,
            "process_status": status,
        }
        if agent.modern:
            del execution["runid"]
        else:
            row["last_log"] = _LOGS[status]
        return row

    def _time(self, agent: Tester, moment: float) -> str:
        """Print a time like the vendor's database does, with hours alone where they are whole."""
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
