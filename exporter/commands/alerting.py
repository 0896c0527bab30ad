"""What is configured of the alerts, for the commands that print what is made from their table.

Whoever prints rules or dashboards is often not where the daemon runs. So of the configuration only
the part on alerting is looked at: no source has to be there, and no secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.alerts.settings import AlertingSettings
from exporter.alerts.thresholds import Thresholds
from exporter.commands.configuration import config_path
from exporter.config import environment
from exporter.config import yaml_file as config_file
from exporter.config.validation import checked
from exporter.errors import ConfigurationError
from exporter.settings import flags
from exporter.settings.assemble import SECTIONS
from exporter.settings.locations import place
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


_ALERTING, _THRESHOLDS = "alerting", "thresholds"
_LOOKED_AT = (_THRESHOLDS, "runbook_url")


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
    models = {name: provider.settings for name, provider in PROVIDERS.items()}
    variables = environment.read(
        environ, sections=SECTIONS, providers=models, known=flags.ENVIRONMENT
    )
    about = f"{environment.PREFIX}{_ALERTING.upper()}"
    problems = [problem for problem in variables.problems if problem.startswith(about)]
    if problems:
        raise ConfigurationError(problems)
    overrides = flags.overrides((flags.RUNBOOK_URL,), arguments, environ)
    given = _joined(_file(arguments, environ), variables.values, overrides)
    outcome = checked(AlertingSettings, {key: given[key] for key in _LOOKED_AT if key in given})
    if outcome.mistakes:
        raise ConfigurationError(
            [
                f"{place((_ALERTING, *mistake.path), variables, overrides)}: {mistake.text}"
                for mistake in outcome.mistakes
            ]
        )
    found = outcome.settings
    return Configured(thresholds=found.thresholds, runbook_url=found.runbook_url)


def _file(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Any:
    """Return the raw part on alerting of the configuration file, if there is one."""
    path = config_path(arguments, environ)
    if path is None:
        return {}
    return config_file.parse(config_file.read(path), name=str(path)).get(_ALERTING, {})


def _joined(file: Any, *over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay what is given elsewhere over the file's part on alerting."""
    if not isinstance(file, dict) or not isinstance(file.get(_THRESHOLDS, {}), dict):
        raise ConfigurationError(
            [f"{_ALERTING}: it and its {_THRESHOLDS} must be mappings of keys to values"]
        )
    joined = dict(file)
    for layer in over:
        given = layer.get(_ALERTING, {})
        thresholds = {**joined.get(_THRESHOLDS, {}), **given.get(_THRESHOLDS, {})}
        joined |= {**given, _THRESHOLDS: thresholds}
    return joined
