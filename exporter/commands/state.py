"""`state`: the file in which the daemon keeps what outlives it."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.commands import configuration
from exporter.config.types import format_duration
from exporter.errors import ConfigurationError, StateError
from exporter.settings import flags
from exporter.state import upkeep
from exporter.state.hostclock import HostClock
from exporter.state.opening import place_of


if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from exporter.state.base import Document
    from exporter.state.place import Place


SUMMARY = "check the file of the state, make it smaller, or print what is in it; also while in use"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what to do, and the flags that say where the state is."""
    parser.add_argument(
        "action",
        metavar="ACTION",
        choices=tuple(_ACTIONS),
        help="check: read all of it, exit 1 if it is damaged; vacuum: give unused room back to the"
        " disk; export: print each document as a line of JSON",
    )
    for flag in (flags.CONFIG_FILE, flags.STATE_PATH):
        flag.add_to(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do it."""
    place = place_of(configuration.state(arguments, environ), environ)
    if place is None:
        raise ConfigurationError(
            [f"{flags.STATE_PATH.spelled}: there is no folder by default; name one"]
        )
    try:
        _ACTIONS[arguments.action](place, HostClock.of(SYSTEM_CLOCK))
    except StateError as error:
        print(f"state: {error}", file=sys.stderr)
        return 1
    return 0


def _check(place: Place, host: HostClock) -> None:
    report = upkeep.check(place, host)
    age = report.newest_age_seconds
    print(f"file       {place.file}, {report.file_bytes} bytes, version {report.version}")
    print(f"documents  {report.documents}, {report.document_bytes} bytes")
    print(f"newest     {'none' if age is None else f'written {format_duration(round(age))} ago'}")
    print("state: fine")


def _vacuum(place: Place, host: HostClock) -> None:
    before, after = upkeep.vacuum(place, host)
    print(f"{place.file}: {before} bytes before, {after} after")


def _export(place: Place, host: HostClock) -> None:
    for key, document in upkeep.export(place, host):
        line = {"key": key, "age_seconds": round(document.age_seconds, 3), **_value(document)}
        sys.stdout.write(f"{msgspec.json.encode(line).decode()}\n")


def _value(document: Document) -> dict[str, Any]:
    try:
        return {"value": msgspec.json.decode(document.value)}
    except (ValueError, RecursionError):
        return {"base64": base64.b64encode(document.value).decode()}


_ACTIONS: Mapping[str, Callable[[Place, HostClock], None]] = {
    "check": _check,
    "vacuum": _vacuum,
    "export": _export,
}
