"""`dashboards`: Grafana's dashboards, with the thresholds of the configured alerts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from exporter.commands import configuration
from exporter.dashboards import agents, exporter, overview, suites
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from exporter.alerts.settings import AlertingSettings
    from exporter.dashboards.dashboard import Dashboard


_DASHBOARDS = tuple(module.DASHBOARD for module in (overview, agents, suites, exporter))

SUMMARY = "print the dashboards for Grafana, or write them to a folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what chooses a dashboard, where it goes, and what changes it."""
    uids = [each.uid for each in _DASHBOARDS]
    parser.add_argument(
        "uid",
        nargs="?",
        choices=uids,
        metavar="DASHBOARD",
        help=f"the one to print: {', '.join(uids)}; without it, the titles of all",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="write them there instead, a file each"
    )
    configuration.add_alerting_arguments(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print or write what is asked for.

    Raises:
        ConfigurationError: The folder cannot be written to.
    """
    given, _ = configuration.alerting(arguments, environ)
    made = dashboards(given)
    chosen = [one for one in made if arguments.uid in (None, one.uid)]
    if arguments.folder is not None:
        for one in chosen:
            _write(arguments.folder / f"{one.uid}.json", one.text(runbook_url=given.runbook_url))
    elif arguments.uid is not None:
        print(chosen[0].text(runbook_url=given.runbook_url), end="")
    else:
        for one in made:
            print(f"{one.uid:20}{one.title}")
    return 0


def dashboards(alerting: AlertingSettings) -> tuple[Dashboard, ...]:
    """Make all dashboards, the most general first.

    Args:
        alerting: The alerts; of those that are off, nothing is shown.
    """
    return tuple(msgspec.structs.replace(each, alerting=alerting) for each in _DASHBOARDS)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            [f"--folder: {path} cannot be written ({error.strerror}); name a folder of yours"]
        ) from error
