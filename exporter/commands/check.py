"""`check-config`: everything that is wrong with the configuration, at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from exporter.commands import diff
from exporter.commands.configuration import auto_reload_seconds, load_settings
from exporter.settings import flags
from exporter.web.access.security import WebSecurity


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from exporter.settings.load import Loaded


SUMMARY = "check the configuration; exit 2 if something is wrong with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that name a configuration."""
    for flag in (*flags.COMMON, *flags.DAEMON):
        flag.add_to(parser)
    parser.add_argument(
        "--diff",
        type=diff.daemon_url,
        metavar="URL",
        help="tell what a reload would do to the daemon at this URL",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Check, then tell what is watched or what a reload would change."""
    loaded = checked(arguments, environ)
    if arguments.diff:
        try:
            running = diff.running(arguments.diff)
        except diff.NotAskedError as error:
            print(f"--diff: {error}", file=sys.stderr)
            return 1
        print("\n".join(diff.lines(running, loaded.settings)))
        return 0
    return tell(loaded)


def checked(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Loaded:
    """Load the configuration, the web configuration file it names, and all else the daemon reads.

    Raises:
        ConfigurationError: With the mistakes in the first of them that has any.
    """
    loaded = load_settings(arguments, environ, (*flags.COMMON, *flags.DAEMON))
    if loaded.settings.web.config_file is not None:
        WebSecurity(loaded.settings.web.config_file)
    auto_reload_seconds(arguments, environ)
    return loaded


def tell(loaded: Loaded) -> int:
    """Print what a configuration without mistakes watches, and what should be changed in it."""
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for source in loaded.settings.sources:
        tasks = ", ".join(source.intervals())
        print(f"{source.provider} {source.name}: {tasks}")
    print("configuration: fine")
    return 0
