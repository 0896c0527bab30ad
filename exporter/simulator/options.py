"""The size, pace and faults of a simulation, and the flags that set them."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Final

import msgspec

from exporter.config.secret import fits_header


if TYPE_CHECKING:
    from collections.abc import Callable


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The content and the behaviour of a simulation.

    Attributes:
        seed: Equal seeds give equal worlds.
        pace: Simulated seconds per real second.
        still: Whether the worlds do not change by themselves.
        agents, controllers, clusters, cluster_members, recorders, suites: Sizes of the Real Load
            fleet.
        blazemeter_agents, blazemeter_locations: Private locations and their agents.
        tests: BlazeMeter tests that run repeatedly.
        eggplant_agents: Agents of the Eggplant server.
        delay_seconds: Duration of a call for which the portal calls another machine.
        dead_delay_seconds: Additional duration of such a call if that machine is down.
        fault_rate: Ratio of calls answered with 502, 0 to 1.
        token: The Real Load token.
        block_seconds: Duration of the block of an address after five bad tokens in a minute.
        host: The address to listen on.
        realload_port, blazemeter_port, eggplant_port: Ports, 0 for a free one.
    """

    seed: int = 1
    pace: float = 1.0
    still: bool = False
    agents: int = 20
    controllers: int = 3
    clusters: int = 6
    cluster_members: int = 3
    recorders: int = 3
    suites: int = 8
    blazemeter_agents: int = 7
    blazemeter_locations: int = 4
    tests: int = 8
    eggplant_agents: int = 9
    delay_seconds: float = 0.0
    dead_delay_seconds: float = 0.0
    fault_rate: float = 0.0
    token: str = "simulated-realload-token"  # noqa: S105 - invented, opens nothing
    block_seconds: float = 900.0
    host: str = "127.0.0.1"
    realload_port: int = 0
    blazemeter_port: int = 0
    eggplant_port: int = 0


_HELP: Final = {
    "seed": "seed of the random numbers; equal seeds give equal fleets",
    "pace": "simulated seconds per real second",
    "agents": "Real Load measuring agents",
    "controllers": "Real Load cluster controllers",
    "clusters": "Real Load clusters",
    "cluster_members": "members of each cluster",
    "recorders": "Real Load proxy recorders",
    "suites": "Real Load test execution suites",
    "blazemeter_agents": "BlazeMeter private-location agents",
    "blazemeter_locations": "BlazeMeter private locations",
    "tests": "BlazeMeter tests that run repeatedly",
    "eggplant_agents": "Eggplant agents",
    "delay_seconds": "duration, in seconds, of calls for which a vendor calls another machine",
    "dead_delay_seconds": "additional seconds of such a call if that machine is down",
    "fault_rate": "ratio of calls answered with 502, 0 to 1",
    "token": "the Real Load token",
    "block_seconds": "seconds for which an address is blocked after five bad tokens in a minute",
    "host": "address to listen on",
    "realload_port": "port of the Real Load portal, 0 for a free one",
    "blazemeter_port": "port of the BlazeMeter API, 0 for a free one",
    "eggplant_port": "port of the Eggplant server, 0 for a free one",
}
_FLAGS: Final = {
    "delay_seconds": "--delay",
    "dead_delay_seconds": "--dead-delay",
}


def flag(name: str) -> str:
    """Return the flag of an option."""
    return _FLAGS.get(name, "--" + name.replace("_", "-"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag per option to a parser."""
    defaults = SimulatorOptions()
    group = parser.add_argument_group("simulated vendors")
    for name, text in _HELP.items():
        default = getattr(defaults, name)
        group.add_argument(
            flag(name),
            dest=name,
            type=_parser_of(name, type(default)),
            default=default,
            metavar=type(default).__name__.upper(),
            help=f"{text} (default: {default})",
        )
    group.add_argument(
        flag("still"),
        action="store_true",
        help="do not let the fleet change by itself",
    )


def options_from(namespace: argparse.Namespace) -> SimulatorOptions:
    """Return the options from parsed flags."""
    names = SimulatorOptions.__struct_fields__
    return SimulatorOptions(**{name: getattr(namespace, name) for name in names})


class _Number:
    """Parse a number within bounds, for argparse."""

    def __init__(self, kind: type[int | float], *, least: float, most: float) -> None:
        self._kind = kind
        self._least = least
        self._most = most

    def __call__(self, text: str) -> float:
        try:
            number = self._kind(text)
        except ValueError:
            what = "a whole number" if self._kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None
        if not self._least <= number <= self._most:
            raise argparse.ArgumentTypeError(
                f"{text} is not between {self._least} and {self._most}"
            )
        return number


def _token(text: str) -> str:
    """Return a token that the printed configuration can contain, as a type for argparse."""
    if not fits_header(text):
        raise argparse.ArgumentTypeError("must be one line of ASCII characters, not empty")
    return text


def _parser_of(name: str, kind: type) -> Callable[[str], str | float]:
    if kind is str:
        return _token if name == "token" else str
    if name.endswith("_port"):
        return _Number(int, least=0, most=65535)
    if name == "fault_rate":
        return _Number(float, least=0, most=1)
    if name == "pace":
        return _Number(float, least=0.001, most=100_000)
    if name == "seed":
        return _Number(int, least=-math.inf, most=math.inf)
    return _Number(int if kind is int else float, least=0, most=1_000_000)
