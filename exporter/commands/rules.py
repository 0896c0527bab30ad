"""`rules`: the alerts as Prometheus reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts import table
from exporter.alerts.formats import prometheus_rule, rules_file
from exporter.commands import configuration


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


SUMMARY = "print the alert rules for Prometheus"

OPERATOR = "operator"

FORMATS = ("prometheus", OPERATOR)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that change the rules."""
    configuration.add_alerting_arguments(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="a file of rules, or a PrometheusRule for the Prometheus operator",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print the rules for the configured thresholds."""
    given = configuration.alerting(arguments, environ)
    text = rules_file(table.rules(given.thresholds), runbook_url=given.runbook_url)
    print(prometheus_rule(text) if arguments.format == OPERATOR else text, end="")
    return 0
