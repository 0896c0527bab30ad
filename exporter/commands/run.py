"""`run`: the daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter import flags
from exporter.commands import check
from exporter.commands.configuration import configure_logging, load_settings
from exporter.daemon import Daemon, stop_signals


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


SUMMARY = "poll the fleet and serve its metrics until told to stop"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take all flags of the daemon."""
    for flag in flags.ALL:
        flag.add_to(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT."""
    if flags.CONFIG_CHECK.value(arguments, environ):
        return check.execute(arguments, environ)
    loaded = load_settings(arguments, environ, (*flags.COMMON, *flags.DAEMON))
    configure_logging(loaded.settings)
    asyncio.run(_serve(Daemon(loaded)))
    return 0


async def _serve(daemon: Daemon) -> None:
    with stop_signals() as stop:
        await daemon.run(stop)
