"""`rules`: the alerts as Prometheus reads them.

Whoever prints rules is often not where the daemon runs. So of the configuration only the part on
alerting is looked at: no source has to be there, and no secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter import config_file, environment, flags
from exporter.alerts import table
from exporter.alerts.operator import prometheus_rule
from exporter.alerts.prometheus import rules_file
from exporter.alerts.thresholds import RUNBOOK_URL, Thresholds
from exporter.assembly import SECTIONS
from exporter.commands.configuration import config_path
from exporter.errors import ConfigurationError
from exporter.mistakes import checked, dotted
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


SUMMARY = "print the alert rules for Prometheus"

OPERATOR = "operator"

FORMATS = ("prometheus", OPERATOR)

_ALERTING, _THRESHOLDS, _RUNBOOK_URL = "alerting", "thresholds", "runbook_url"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that change the rules."""
    for flag in (flags.CONFIG_FILE, flags.RUNBOOK_URL):
        flag.add_to(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="a file of rules, or a PrometheusRule for the Prometheus operator",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print the rules for the configured thresholds."""
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
    rules = table.rules(outcome.settings)
    text = rules_file(rules, runbook_url=str(runbook_url or RUNBOOK_URL))
    print(prometheus_rule(text) if arguments.format == OPERATOR else text, end="")
    return 0


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
