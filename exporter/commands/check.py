"""`check-config`: everything that is wrong with the configuration, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter import flags
from exporter.commands.configuration import load_settings
from exporter.web.security import WebSecurity


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


SUMMARY = "check the configuration; exit 2 if something is wrong with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that name a configuration."""
    for flag in (*flags.COMMON, *flags.DAEMON):
        flag.add_to(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Load the configuration and say what it watches."""
    loaded = load_settings(arguments, environ, (*flags.COMMON, *flags.DAEMON))
    web_config_file = loaded.settings.web.config_file
    if web_config_file is not None:
        WebSecurity(web_config_file)
    for source in loaded.settings.sources:
        tasks = ", ".join(source.intervals())
        print(f"{source.provider} {source.name}: {tasks}")
    print("configuration: fine")
    return 0
