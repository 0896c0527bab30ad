"""From flags and environment to settings, the same way for every command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from exporter.config.types import WrongValueError, parse_duration
from exporter.errors import ConfigurationError
from exporter.settings import flags
from exporter.settings.load import Loaded, load


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence


#: How often to look for changes of the configuration's files.
DEFAULT_AUTO_RELOAD_SECONDS = 30.0


def load_settings(
    arguments: argparse.Namespace,
    environ: Mapping[str, str],
    used: Sequence[flags.Flag] = flags.COMMON,
) -> Loaded:
    """Load the configuration a command was asked to use.

    Raises:
        ConfigurationError: With every mistake in it.
    """
    loaded = load(
        config_path(arguments, environ),
        environ=environ,
        overrides=flags.overrides(used, arguments, environ),
    )
    warnings = (*flags.warnings(flags.ALL, arguments, environ), *loaded.warnings)
    return msgspec.structs.replace(loaded, warnings=warnings)


def auto_reload_seconds(arguments: argparse.Namespace, environ: Mapping[str, str]) -> float:
    """Return how often to look for changes of the configuration's files; 0 is never.

    Raises:
        ConfigurationError: The value is no duration.
    """
    text = flags.AUTO_RELOAD.value(arguments, environ)
    if text is None:
        return DEFAULT_AUTO_RELOAD_SECONDS
    try:
        return parse_duration(text)
    except WrongValueError as error:
        raise ConfigurationError([f"{flags.AUTO_RELOAD.spelled}: {error}"]) from None


def config_path(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file to read, if there is one."""
    named = flags.CONFIG_FILE.value(arguments, environ)
    if named is not None:
        return Path(named)
    default = Path(flags.DEFAULT_CONFIG_FILE)
    return default if default.exists() else None
