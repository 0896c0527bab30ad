"""`dashboards`: prints or writes Grafana dashboards with the thresholds of the alerts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.alerts.about import Uid
from exporter.commands import configuration
from exporter.config import files
from exporter.dashboards import agents, exporter, generators, overview, suites
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from exporter.alerts.settings import AlertingSettings
    from exporter.dashboards.dashboard import Dashboard


_MODULES = (overview, agents, suites, generators, exporter)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the dashboard, the folder and the flags of the alerts."""
    parser.add_argument(
        "uid",
        nargs="?",
        choices=list(Uid),
        metavar="DASHBOARD",
        help=f"the dashboard to print: {', '.join(Uid)}; without it, print all titles",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="write the dashboards to this folder instead, one file each",
    )
    configuration.add_alerting_arguments(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print or write the dashboards.

    Returns:
        The exit code, 0.

    Raises:
        ConfigurationError: The folder cannot be written to.
    """
    given, _ = configuration.alerting(arguments, environ)
    for board in dashboards(given):
        if arguments.uid not in {None, board.uid}:
            continue
        if arguments.folder is not None:
            _write(arguments.folder / f"{board.uid}.json", board.text(given))
        elif arguments.uid is not None:
            print(board.text(given), end="")
        else:
            print(f"{board.uid:22}{board.title}")
    return 0


def dashboards(alerting: AlertingSettings) -> list[Dashboard]:
    """Return all dashboards with the thresholds of the alerts, the most general first."""
    return [module.board(alerting.thresholds) for module in _MODULES]


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text.encode())
    except OSError as error:
        raise ConfigurationError(
            [f"--folder: {path} cannot be written ({error.strerror}); name a writable folder"]
        ) from error
