"""`simulate`: serves the simulated vendors, without a daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.process import stop_signals
from exporter.simulator import options
from exporter.simulator.server import run


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


add_arguments = options.add_arguments


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        The exit code, 0.
    """
    del environ
    asyncio.run(_serve(options.options_from(arguments)))
    return 0


async def _serve(wanted: options.SimulatorOptions) -> None:
    with stop_signals() as stop:
        await run(wanted, announce=lambda line: print(line, flush=True), stop=stop)
