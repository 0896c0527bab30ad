"""The Real Load fleet: agents, controllers, clusters, recorders and suites.

The first machines of each kind have fixed roles, so that even a small fleet shows all behaviours.
The others behave randomly, depending on the seed.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.simulator.realload.runs import make_suites
from exporter.simulator.world import STEADY, Machine, Timeline, Wave, World


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.clock import Clock
    from exporter.simulator.options import SimulatorOptions

AGENT_VERSION: Final = "4.8.24"
MIN_AGENT_VERSION: Final = "4.8.9"
CONTROLLER_VERSION: Final = "4.8.24"
MIN_CONTROLLER_VERSION: Final = "4.8.9"
RECORDER_VERSION: Final = "1.1.10"  # compared as text, it would be older than the minimum
MIN_RECORDER_VERSION: Final = "1.1.3"
OWNER_ID: Final = 13
_FIRST_AGENT: Final = 41
_FIRST_CLUSTER: Final = 11
_FIRST_MEMBER: Final = 59
_FIRST_RECORDER: Final = 3
_DAY_SECONDS: Final = 86_400.0
_PLACES: Final = ("bern", "zurich", "geneva", "basel")


class Agent(Machine, kw_only=True):
    """A measuring agent.

    Attributes:
        denied: Whether it belongs to another user, so that a ping is denied.
        broken: Text of an error without flags that its pings return; `None` for no such error.
        shared: Whether it is shared; the portal then prints additional fields.
        cloud: Whether it was launched with cloud credits, so that it ends by itself; the portal
            then prints additional fields.
        max_users: The limit of users, -1 for none.
        memory_separator: Thousands separator in its memory, as in `16,384 MB`.
    """

    agent_id: int
    description: str
    host: str
    port: int = 8080
    token: str = ""
    active: bool = True
    denied: bool = False
    broken: str | None = None
    shared: bool = False
    cloud: bool = False
    max_users: int = 500
    max_seconds: int = 3600
    memory_mb: int = 2048
    memory_separator: str = ""


class Controller(Machine, kw_only=True):
    """A cluster controller.

    Attributes:
        flagged: Whether successful replies report it as outdated, instead of an error.
    """

    host: str
    port: int = 8083
    token: str = ""
    flagged: bool = False


ClusterError = Literal[
    "clusterIdError",
    "clusterAccessDeniedError",
    "controllerVersionOutdatedError",
    "controllerNotReachableError",
]


class Cluster(msgspec.Struct, kw_only=True):
    """A cluster of agents.

    Attributes:
        controller: `host:port`.
        members: Agent ids by member id.
        token: The stored token of the controller; `None` for the right one.
        error: Error flag that its pings return although its controller works.
        failing: Ids of agents to which the controller cannot connect.
        mute: Ids of agents to which the controller connects but which do not answer the ping.
    """

    cluster_id: int
    description: str
    controller: str
    members: dict[int, int]
    token: str | None = None
    error: ClusterError | None = None
    active: bool = True
    failing: list[int] = []
    mute: list[int] = []


class Recorder(Machine, kw_only=True):
    """A proxy recorder."""

    recorder_id: int
    description: str
    host: str
    token: str = ""
    username: str = ""
    password: str = ""
    recording: bool = False


_AGENT_ROLES: Final[dict[int, dict[str, object]]] = {
    1: {"wave": Wave(period_seconds=240, up_seconds=150, phase_seconds=60)},
    2: {"outdated": True, "version": "4.7.12"},
    3: {"active": False, "up": False},
    4: {"skew_seconds": 7.4},
    5: {"token": ""},
    7: {"wave": Wave(period_seconds=900, up_seconds=895, phase_seconds=300)},
    8: {"shared": True},
    9: {"max_users": -1, "max_seconds": -1},
    10: {"skew_seconds": 7200.0, "age_seconds": 6600.0},
    11: {"cloud": True, "wave": Wave(period_seconds=1200, up_seconds=900)},
    12: {"wave": Wave(period_seconds=3600, up_seconds=3300, phase_seconds=3400)},
}
_CLUSTER_ROLES: Final[dict[int, dict[str, object]]] = {
    1: {"active": False},
    4: {"token": "simulated-stale-token"},
}
_WEAK_CONTROLLER_INDEX: Final = 2
_WEAK_CLUSTER_INDEX: Final = 5
_FAILING_MEMBER_INDEX: Final = 6


class Fleet(World):
    """The world of one Real Load portal.

    Attributes:
        agents, controllers, clusters, recorders, suites: Objects by id; controllers by `host:port`.
        certificates: The rows of the reply; `None` until the first request, since making them takes
            time.
    """

    kinds: ClassVar = frozenset({"agents", "controllers", "clusters", "recorders", "suites"})

    def __init__(self, options: SimulatorOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(Timeline(clock, pace=options.pace, still=options.still))
        self.certificates: list[dict[str, Any]] | None = None
        chance = random.Random(options.seed)  # noqa: S311 - repeatable, not secret
        self.agents = {str(agent.agent_id): agent for agent in _agents(options.agents, chance)}
        self.controllers = {
            f"{controller.host}:{controller.port}": controller
            for controller in _controllers(options.controllers, chance)
        }
        self.clusters = {
            str(cluster.cluster_id): cluster
            for cluster in _clusters(options, list(self.agents.values()), list(self.controllers))
        }
        self.recorders = {
            str(recorder.recorder_id): recorder
            for recorder in _recorders(options.recorders, chance)
        }
        self.suites = make_suites(
            options.suites, seed=options.seed, agent_id=_FIRST_AGENT, cluster_id=_FIRST_CLUSTER
        )

    def members(self, cluster: Cluster) -> Iterator[tuple[int, Agent]]:
        """Yield member ids and agents of a cluster, without deleted agents."""
        for member_id, agent_id in cluster.members.items():
            agent = self.agents.get(str(agent_id))
            if agent is not None:
                yield member_id, agent


def _token(chance: random.Random) -> str:
    return "".join(chance.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=14))


def _wave(chance: random.Random) -> Wave:
    """Return a wave that is up at the beginning; one machine in ten later goes down sometimes."""
    if chance.random() >= 0.1:
        return STEADY
    up, down = chance.uniform(1200, 5400), chance.uniform(45, 240)
    phase = chance.uniform(0, up)
    return Wave(period_seconds=up + down, up_seconds=up, phase_seconds=phase)


def _agents(count: int, chance: random.Random) -> Iterator[Agent]:
    for index in range(count):
        number = index // len(_PLACES) + 1
        place = _PLACES[index % len(_PLACES)]
        agent = Agent(
            agent_id=_FIRST_AGENT + index,
            description=f"{place}-{number:02}",
            host=f"{place}-{number:02}.load.example.net",
            token=_token(chance),
            version=AGENT_VERSION if chance.random() < 0.8 else "4.8.20",
            memory_mb=chance.choice((2048, 4096, 8192)),
            age_seconds=chance.uniform(1, 60) * _DAY_SECONDS,
            jitter=chance.random(),
        )
        if index > max(_AGENT_ROLES):
            agent.wave = _wave(chance)
        for attribute, value in _AGENT_ROLES.get(index, {}).items():
            setattr(agent, attribute, value)
        yield agent


_WEAK: Final = Wave(period_seconds=1800, up_seconds=1680, phase_seconds=1710)


def _controllers(count: int, chance: random.Random) -> Iterator[Controller]:
    for index in range(count):
        yield Controller(
            host=f"controller-{index + 1}.load.example.net",
            token=_token(chance),
            version=CONTROLLER_VERSION if index != 1 else "4.8.8",
            flagged=index == 1,
            wave=_WEAK if index == _WEAK_CONTROLLER_INDEX else STEADY,
            age_seconds=chance.uniform(1, 60) * _DAY_SECONDS,
            jitter=chance.random(),
        )


def _clusters(
    options: SimulatorOptions, agents: list[Agent], controllers: list[str]
) -> Iterator[Cluster]:
    if not controllers:
        return
    chance = random.Random(f"{options.seed}/clusters")  # noqa: S311 - not secret
    weak = controllers[_WEAK_CONTROLLER_INDEX : _WEAK_CONTROLLER_INDEX + 1]
    homes = itertools.cycle(each for each in controllers if each not in weak)
    member_id = _FIRST_MEMBER
    for index in range(options.clusters):
        chosen = chance.sample(agents, min(options.cluster_members, len(agents)))
        failing: list[int] = []
        if index == 0 and len(agents) > _FAILING_MEMBER_INDEX and chosen:
            special = agents[_FAILING_MEMBER_INDEX]
            chosen = [special, *(agent for agent in chosen if agent is not special)][: len(chosen)]
            failing = [special.agent_id]
        cluster = Cluster(
            cluster_id=_FIRST_CLUSTER + index,
            description=f"Cluster {index + 1}",
            controller=weak[0] if weak and index == _WEAK_CLUSTER_INDEX else next(homes),
            members=dict(enumerate((agent.agent_id for agent in chosen), start=member_id)),
            failing=failing,
        )
        for attribute, value in _CLUSTER_ROLES.get(index, {}).items():
            setattr(cluster, attribute, value)
        yield cluster
        member_id += len(chosen)


def _recorders(count: int, chance: random.Random) -> Iterator[Recorder]:
    for index in range(count):
        yield Recorder(
            recorder_id=_FIRST_RECORDER + index,
            description=f"Recorder {index + 1}",
            host=f"recorder-{index + 1}.load.example.net",
            token=_token(chance) if index else "",
            username="recorder" if index else "",
            password=_token(chance) if index else "",
            version=RECORDER_VERSION if index != 1 else "1.1.2",
            up=False if index == 2 else None,
            recording=index == 0,
            jitter=chance.random(),
        )
