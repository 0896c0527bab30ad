"""`rules`: prints the alert rules for Prometheus, VictoriaMetrics or Grafana."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exporter.alerts.formats import (
    LOOKBACK_SECONDS,
    WITHOUT,
    RulesOptions,
    metricsql,
    prometheus_rule,
    rules_file,
)
from exporter.alerts.grafana import DATASOURCE_UID, provisioning
from exporter.alerts.table import IDENTITY
from exporter.commands import configuration
from exporter.config.types import WrongValueError, check_url, format_duration, parse_duration
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


OPERATOR, VICTORIA, GRAFANA = "operator", "victoriametrics", "grafana"

FORMATS = ("prometheus", OPERATOR, VICTORIA, GRAFANA)

# Two scrapes at the interval of the shipped prometheus.yml.
_LEAST_SECONDS = 60.0

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_UID = re.compile(r"[a-zA-Z0-9_-]{1,40}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that change the rules."""
    configuration.add_alerting_arguments(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="a rules file for Prometheus, a PrometheusRule for the Prometheus operator, a rules"
        " file for vmalert, or a provisioning file for Grafana-managed rules",
    )
    parser.add_argument(
        "--lookback",
        default=format_duration(LOOKBACK_SECONDS),
        metavar="DURATION",
        help="how far back a rule looks for samples after a failed scrape, at least two scrape"
        f" intervals; default {format_duration(LOOKBACK_SECONDS)}",
    )
    parser.add_argument(
        "--without",
        default=",".join(WITHOUT),
        metavar="LABELS",
        help="labels to remove from alerts about targets, because they differ between exporters"
        f" that poll the same targets; default {','.join(WITHOUT)}",
    )
    parser.add_argument(
        "--board-url",
        metavar="URL",
        help="URL of the board for links in alerts; default web.external_url",
    )
    parser.add_argument(
        "--datasource-uid",
        default=DATASOURCE_UID,
        metavar="UID",
        help="with --format=grafana, the UID of the data source with the metrics; default"
        f" {DATASOURCE_UID}",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print the rules for the configured alerts.

    Returns:
        The exit code, 0.

    Raises:
        ConfigurationError: The configuration or a flag cannot be used.
    """
    given, board_url = configuration.alerting(arguments, environ)
    options = RulesOptions.of(
        given,
        lookback=_lookback(arguments.lookback),
        without=_labels(arguments.without),
        board_url=_url(arguments.board_url) or board_url,
    )
    if arguments.format == GRAFANA:
        text = provisioning(given.rules(), options, _uid(arguments.datasource_uid))
    else:
        text = rules_file(given.rules(), options)
    finished = {OPERATOR: prometheus_rule, VICTORIA: metricsql}.get(arguments.format, str)
    print(finished(text), end="")
    return 0


def _lookback(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except WrongValueError as error:
        raise ConfigurationError([f"--lookback: {error}"]) from None
    if seconds < _LEAST_SECONDS:
        raise ConfigurationError(["--lookback: must be at least 1m, two scrapes of 30s"])
    return seconds


def _labels(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not _LABEL.fullmatch(name):
            raise ConfigurationError([f"--without: {name!r} is no name of a label"])
        if name in IDENTITY:
            raise ConfigurationError([f"--without: {name} identifies targets; leave it out"])
    return names


def _uid(text: str) -> str:
    if not _UID.fullmatch(text):
        raise ConfigurationError(
            ["--datasource-uid: must be 1 to 40 letters, digits, hyphens and underscores"]
        )
    return text


def _url(text: str | None) -> str:
    try:
        return check_url(text) if text else ""
    except WrongValueError as error:
        raise ConfigurationError([f"--board-url: {error}"]) from None
