"""`run`: the daemon."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from exporter import flags, process
from exporter.clock import SYSTEM_CLOCK
from exporter.commands import check
from exporter.commands.configuration import load_settings
from exporter.daemon import Daemon, stop_signals
from exporter.errors import ConfigurationError
from exporter.fields import parse_duration
from exporter.logging import configure_for
from exporter.notify import Notifier


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


#: How often to look for changes of the configuration's files.
DEFAULT_AUTO_RELOAD_SECONDS = 30.0

SUMMARY = "poll the fleet and serve its metrics until told to stop"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take all flags of the daemon."""
    for flag in flags.ALL:
        flag.add_to(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT."""
    if flags.CONFIG_CHECK.value(arguments, environ):
        return check.tell(check.checked(arguments, environ))
    load = partial(load_settings, arguments, environ, (*flags.COMMON, *flags.DAEMON))
    auto_reload = flags.AUTO_RELOAD.value(arguments, environ)
    loaded = load()
    configure_for(loaded.settings)
    seconds = DEFAULT_AUTO_RELOAD_SECONDS if auto_reload is None else _duration(auto_reload)
    notifier = Notifier.of(environ)
    daemon = Daemon(
        loaded,
        load=load,
        auto_reload_seconds=seconds,
        announce=lambda _: notifier.ready(),
    )
    process.run(_serve(daemon, notifier))
    return 0


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigurationError([f"--{flags.AUTO_RELOAD.name} {error}"]) from None


async def _serve(daemon: Daemon, notifier: Notifier) -> None:
    with stop_signals() as stop:
        following = asyncio.create_task(
            notifier.follow(stop, healthy=daemon.healthy, clock=SYSTEM_CLOCK)
        )
        try:
            await daemon.run(stop)
        finally:
            following.cancel()
