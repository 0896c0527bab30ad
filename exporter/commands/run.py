"""`run`: the daemon."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from exporter import process
from exporter.clock import SYSTEM_CLOCK
from exporter.commands import check
from exporter.commands.configuration import auto_reload_seconds, load_settings
from exporter.daemon import Daemon
from exporter.settings import flags
from exporter.settings.load import configure_for
from exporter.systemd import Notifier


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare all flags of the daemon."""
    for flag in flags.ALL:
        flag.add_to(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT.

    Returns:
        The exit code, 0.
    """
    if flags.CONFIG_CHECK.value(arguments, environ):
        return check.tell(check.checked(arguments, environ))
    load = partial(load_settings, arguments, environ, (*flags.COMMON, *flags.DAEMON), pipe=False)
    seconds = auto_reload_seconds(arguments, environ)
    loaded = load(pipe=True)
    configure_for(loaded.settings, warnings=loaded.warnings)
    notifier = Notifier.of(environ)
    daemon = Daemon(
        loaded,
        load=load,
        auto_reload_seconds=seconds,
        announce=lambda _: notifier.ready(),
    )
    process.run(_serve(daemon, notifier))
    return 0


async def _serve(daemon: Daemon, notifier: Notifier) -> None:
    with process.stop_signals() as stop:
        following = asyncio.create_task(
            notifier.follow(stop, healthy=lambda: daemon.healthy, clock=SYSTEM_CLOCK)
        )
        try:
            await daemon.run(stop)
        finally:
            following.cancel()
