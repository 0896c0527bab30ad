"""From flags and environment to settings, the same way for every command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter import flags
from exporter.settings import Loaded, load


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence


def load_settings(
    arguments: argparse.Namespace,
    environ: Mapping[str, str],
    used: Sequence[flags.Flag] = flags.COMMON,
) -> Loaded:
    """Load the configuration a command was asked to use.

    Raises:
        ConfigurationError: With every mistake in it.
    """
    return load(
        config_path(arguments, environ),
        environ=environ,
        overrides=flags.overrides(used, arguments, environ),
        known_environment=flags.ENVIRONMENT,
    )


def config_path(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file to read, if there is one."""
    named = flags.CONFIG_FILE.value(arguments, environ)
    if named is not None:
        return Path(named)
    default = Path(flags.DEFAULT_CONFIG_FILE)
    return default if default.exists() else None
