"""The configured thresholds, for the commands that print rules or dashboards.

These often do not run where the daemon does. So they read only the part on alerting of the
configuration: no source has to be there, and no secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.settings import AlertingSettings
from exporter.alerts.thresholds import Thresholds
from exporter.commands.configuration import config_path
from exporter.config import yaml_file
from exporter.config.environment import PREFIX
from exporter.config.validation import checked
from exporter.errors import ConfigurationError
from exporter.settings import flags
from exporter.settings.layers import Layers


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


_ALERTING, _THRESHOLDS = "alerting", "thresholds"
_LOOKED_AT = (_THRESHOLDS, "runbook_url")


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """The values that alerts compare with, and the address of their runbooks."""

    thresholds: Thresholds
    runbook_url: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that `configured` reads."""
    for flag in (flags.CONFIG_FILE, flags.RUNBOOK_URL):
        flag.add_to(parser)


def configured(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Configured:
    """Read what is configured.

    Raises:
        ConfigurationError: It cannot be used.
    """
    path = config_path(arguments, environ)
    layers = Layers(
        yaml_file.parse(yaml_file.read(path), name=str(path)) if path is not None else {},
        environ=environ,
        overrides=flags.overrides((flags.RUNBOOK_URL,), arguments, environ),
    )
    about = (f"{PREFIX}{_ALERTING.upper()}", _ALERTING)
    problems = [problem for problem in layers.problems(()) if problem.startswith(about)]
    if problems:
        raise ConfigurationError(problems)
    given = layers.joined().get(_ALERTING, {})
    if not isinstance(given, dict) or not isinstance(given.get(_THRESHOLDS, {}), dict):
        raise ConfigurationError(
            [f"{_ALERTING}: it and its {_THRESHOLDS} must be mappings of keys to values"]
        )
    outcome = checked(AlertingSettings, {key: given[key] for key in _LOOKED_AT if key in given})
    if outcome.mistakes:
        raise ConfigurationError(
            [
                f"{layers.location_of((_ALERTING, *mistake.path))}: {mistake.text}"
                for mistake in outcome.mistakes
            ]
        )
    found = outcome.settings
    return Configured(thresholds=found.thresholds, runbook_url=found.runbook_url)
