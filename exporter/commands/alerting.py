"""What is configured of the alerts, for the commands that print what is made from their table.

Whoever prints rules or dashboards is often not where the daemon runs. So of the configuration only
the part on alerting is looked at: no source has to be there, and no secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter import config_file, environment, flags
from exporter.alerts.thresholds import RUNBOOK_URL, Thresholds
from exporter.assembly import SECTIONS
from exporter.commands.configuration import config_path
from exporter.errors import ConfigurationError
from exporter.mistakes import checked, dotted
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


_ALERTING, _THRESHOLDS, _RUNBOOK_URL = "alerting", "thresholds", "runbook_url"


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """What alerts compare with, and where their runbooks are served."""

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
    given = _alerting(arguments, environ)
    outcome = checked(Thresholds, given.get(_THRESHOLDS, {}))
    if outcome.mistakes:
        raise ConfigurationError(
            [
                f"{dotted((_ALERTING, _THRESHOLDS, *mistake.path))}: {mistake.text}"
                for mistake in outcome.mistakes
            ]
        )
    runbook_url = flags.RUNBOOK_URL.value(arguments, environ) or given.get(_RUNBOOK_URL)
    return Configured(thresholds=outcome.settings, runbook_url=str(runbook_url or RUNBOOK_URL))


def _alerting(arguments: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the raw part on alerting, the environment over the file."""
    path = config_path(arguments, environ)
    file: Any = {}
    if path is not None:
        file = config_file.parse(config_file.read(path), name=str(path)).get(_ALERTING, {})
    models = {name: provider.settings for name, provider in PROVIDERS.items()}
    variables = environment.read(
        environ, sections=SECTIONS, providers=models, known=flags.ENVIRONMENT
    )
    about = f"{environment.PREFIX}{_ALERTING.upper()}"
    problems = [problem for problem in variables.problems if problem.startswith(about)]
    if problems:
        raise ConfigurationError(problems)
    over = variables.values.get(_ALERTING, {})
    if not isinstance(file, dict) or not isinstance(file.get(_THRESHOLDS, {}), dict):
        raise ConfigurationError(
            [f"{_ALERTING}: it and its {_THRESHOLDS} must be mappings of keys to values"]
        )
    thresholds = {**file.get(_THRESHOLDS, {}), **over.get(_THRESHOLDS, {})}
    return {**file, **over, _THRESHOLDS: thresholds}
