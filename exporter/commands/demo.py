"""`demo`: simulated vendors and a daemon that polls them, in one process."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from exporter.clock import SYSTEM_CLOCK, utc
from exporter.config.types import format_duration
from exporter.daemon import Daemon
from exporter.errors import StartError
from exporter.process import stop_signals
from exporter.settings import flags
from exporter.settings.load import Loaded, configure_for, from_data
from exporter.settings.preflights import PreflightSettings
from exporter.simulator import options, programs
from exporter.simulator.server import Simulation
from exporter.state.memory import MemoryState


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager


#: Shorter than any sensible interval for a real vendor, so that changes show quickly.
INTERVAL_SECONDS = 5.0

#: Time until the simulated test of the demo's preflight begins.
TEST_BEGINS_SECONDS = 7200.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the simulator's flags and the daemon's."""
    options.add_arguments(parser)
    for flag in (flags.LOG_LEVEL, flags.LOG_FORMAT, *flags.DAEMON):
        flag.add_to(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run vendors and daemon until SIGTERM or SIGINT.

    Returns:
        The exit code, 0.
    """
    used = (flags.LOG_LEVEL, flags.LOG_FORMAT, *flags.DAEMON)
    overrides = flags.overrides(used, arguments, environ)
    warnings = list(flags.warnings(used, arguments, environ))
    asyncio.run(_demonstrate(options.options_from(arguments), overrides, warnings))
    return 0


async def _demonstrate(
    wanted: options.SimulatorOptions, overrides: dict[str, object], warnings: Sequence[str]
) -> None:
    with stop_signals() as stop:
        async with Simulation(wanted) as simulation, _real(simulation) as real:
            data = {"defaults": {"interval": format_duration(INTERVAL_SECONDS), "timeout": "4s"}}
            simulated = simulation.configuration(interval_seconds=INTERVAL_SECONDS)
            data |= simulated | {"sources": [*simulated["sources"], *real]}
            settings = from_data(data, overrides=overrides)
            if settings.sharding.total_shards == 1:
                soon = _preflight(SYSTEM_CLOCK.time())
                settings = settings.model_copy(update={"preflights": (soon,)})
            configure_for(settings, warnings=warnings)
            daemon = Daemon(
                Loaded(settings=settings, hash=""),
                announce=partial(_announce, simulation, real),
                # The demo starts without state and leaves none behind.
                state=MemoryState(SYSTEM_CLOCK.monotonic),
            )
            try:
                await daemon.run(stop)
            except StartError as error:
                raise StartError(flags.by_flags(str(error))) from error


def _preflight(now: float) -> PreflightSettings:
    """Return a preflight for a test in two hours. It fails because an agent is outdated."""
    return PreflightSettings.model_validate(
        {
            "name": "nightly-checkout",
            "agents": {"source": "simulated-portal", "include": "geneva-.*"},
            "users": 2500,
            "window": {"before": f"{utc(now + TEST_BEGINS_SECONDS):%H:%M}", "for": "1h"},
        }
    )


def _real(simulation: Simulation) -> AbstractAsyncContextManager[list[dict[str, Any]]]:
    return programs.installed(simulation.base_urls[0])


def _announce(simulation: Simulation, real: Sequence[dict[str, Any]], url: str) -> None:
    """Print the URLs to open, and a command that takes an agent down."""
    for source in real:
        print(f"{source['provider']:8} {source['url']}/ (a real server, installed here)")
    agents = list(simulation.fleet.agents)[-1:]
    change = json.dumps({"change": {"agents": {agent: {"up": False} for agent in agents}}})
    print(
        f"board    {url}/\n"
        f"metrics  {url}/metrics\n"
        f"try      curl -d '{change}' {simulation.base_urls[0]}/_control",
        flush=True,
    )
