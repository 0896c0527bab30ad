"""`check-config`: prints the mistakes of the configuration, or the effect of a reload."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import yaml

from exporter.commands import remote
from exporter.commands.configuration import auto_reload_seconds, load_settings
from exporter.polling.reload import BY_RELOAD, BY_RESTART, difference
from exporter.settings import flags
from exporter.settings.load import redacted
from exporter.web.access.security import WebSecurity


if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from exporter.settings.load import Loaded, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the configuration, and `--diff`."""
    for flag in (*flags.COMMON, *flags.DAEMON):
        flag.add_to(parser)
    parser.add_argument(
        "--diff",
        type=remote.daemon_url,
        metavar="URL",
        help="print what a reload would change in the daemon at this URL",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Check the configuration, then print its sources or the effect of a reload.

    Returns:
        The exit code: 0, or 1 if the daemon of `--diff` cannot be asked.
    """
    loaded = checked(arguments, environ)
    if arguments.diff:
        try:
            old = asyncio.run(running(arguments.diff))
        except remote.NotAskedError as error:
            print(f"--diff: {error}", file=sys.stderr)
            return 1
        print("\n".join(lines(old, loaded.settings)))
        return 0
    return tell(loaded)


def checked(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Loaded:
    """Return the configuration after a check of everything that the daemon reads at its start.

    Raises:
        ConfigurationError: With the mistakes of the first wrong file or flag.
    """
    loaded = load_settings(arguments, environ, (*flags.COMMON, *flags.DAEMON))
    if loaded.settings.web.config_file is not None:
        WebSecurity(loaded.settings.web.config_file)
    auto_reload_seconds(arguments, environ)
    return loaded


def tell(loaded: Loaded) -> int:
    """Print the sources of a valid configuration, and its warnings.

    Returns:
        The exit code, 0.
    """
    for warning in (*loaded.warnings, *loaded.settings.risks()):
        print(f"warning: {warning}", file=sys.stderr)
    for source in loaded.settings.sources:
        tasks = ", ".join(source.intervals())
        print(f"{source.provider} {source.name}: {tasks}")
    print("configuration: fine")
    return 0


async def running(url: str) -> dict[str, Any]:
    """Return the effective configuration of a daemon, as its page `/config` shows it.

    Raises:
        NotAskedError: There is no daemon at the URL, or it does not show its configuration.
    """
    reply = await remote.get(url, "/config", accept="text/plain")
    try:
        document = yaml.safe_load(reply.body)
    except (UnicodeError, yaml.YAMLError):
        document = None
    if not isinstance(document, dict):
        raise remote.not_a_daemon(url)
    return document


def lines(old: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """Yield a line for each source or section that a reload would start, restart, stop or apply.

    Secrets are not compared, because `/config` hides them. A changed secret restarts no source.

    Args:
        old: The daemon's configuration, redacted.
        settings: The settings that a reload would load.
    """
    new = redacted(settings)
    before, after = _by_name(old), _by_name(new)
    found = difference(before, after)
    for name in found.added:
        yield f"start    {name}"
    for name in found.changed:
        keys = before[name].keys() | after[name].keys()
        changed = sorted(key for key in keys if before[name].get(key) != after[name].get(key))
        yield f"restart  {name}: {', '.join(changed)}"
    for name in found.removed:
        yield f"stop     {name}"
    for name in found.kept:
        yield f"keep     {name}"
    for section in BY_RELOAD:
        if old.get(section) != new.get(section):
            yield f"{section} differs: a reload applies it"
    for section in BY_RESTART:
        if old.get(section) != new.get(section):
            yield (
                f"{section} differs: only a restart of the daemon applies it"
                " (run check-config with the daemon's flags and environment)"
            )
    yield "secrets are not compared"


def _by_name(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {source["name"]: source for source in document.get("sources", [])}
