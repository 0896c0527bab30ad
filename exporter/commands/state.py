"""`state`: maintenance of the file or server in which the daemon stores its state."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.commands import configuration
from exporter.config.types import format_duration
from exporter.errors import ConfigurationError, StateError
from exporter.history import upkeep as history
from exporter.settings import flags
from exporter.state import upkeep
from exporter.state.base import SALT
from exporter.state.hostclock import HostClock
from exporter.state.opening import on_server, place_of


if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from exporter.state.base import Document
    from exporter.state.place import Place
    from exporter.state.settings import StateSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action, and the flags that locate the state."""
    parser.add_argument(
        "action",
        metavar="ACTION",
        choices=tuple(_ACTIONS),
        help="check: read the whole state, exit 1 if it is damaged; vacuum: free unused disk space;"
        " export: print each document as a line of JSON",
    )
    for flag in (flags.CONFIG_FILE, flags.STATE_PATH, flags.STATE_URL):
        flag.add_to(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the action.

    Returns:
        The exit code: 0, or 1 if the state is damaged or unreachable.
    """
    settings, of_history = configuration.kept(arguments, environ)
    try:
        if settings.url is not None:
            asyncio.run(_on_server(arguments.action, settings))
        else:
            place = place_of(settings, environ)
            if place is None:
                raise ConfigurationError(
                    [f"{flags.STATE_PATH.spelled}: there is no default folder here; name one"]
                )
            _ACTIONS[arguments.action](place, HostClock.of(SYSTEM_CLOCK))
        if arguments.action in _OF_HISTORY:
            for place in history.places(of_history.path or settings.path, environ):
                _OF_HISTORY[arguments.action](place)
    except StateError as error:
        print(f"state: {error}", file=sys.stderr)
        return 1
    return 0


async def _on_server(action: str, settings: StateSettings) -> None:
    if action == "vacuum":
        raise ConfigurationError(
            ["state.url: Redis and Valkey free unused space themselves; no vacuum is needed"]
        )
    state = on_server(settings, SYSTEM_CLOCK)
    try:
        documents = await state.documents("")
    finally:
        await state.aclose()
    if action == "export":
        _print_documents((key, document) for key, document in documents.items() if key != SALT)
        return
    print(f"server     {state.server.place}, {state.server.version}, {state.size()} bytes in use")
    print(f"data       begun {_ago(state.age_seconds)}, nothing is evicted")
    _print_sizes(
        len(documents),
        sum(len(document.value) for document in documents.values()),
        min((document.age_seconds for document in documents.values()), default=None),
    )


def _check(place: Place, host: HostClock) -> None:
    report = upkeep.check(place, host)
    print(f"file       {place.file}, {report.file_bytes} bytes, version {report.version}")
    _print_sizes(report.documents, report.document_bytes, report.newest_age_seconds)


def _print_sizes(documents: int, size: int, newest_age_seconds: float | None) -> None:
    newest = "none" if newest_age_seconds is None else f"written {_ago(newest_age_seconds)}"
    print(f"documents  {documents}, {size} bytes")
    print(f"newest     {newest}")
    print("state: fine")


def _ago(seconds: float) -> str:
    return f"{format_duration(round(seconds))} ago"


def _vacuum(place: Place, host: HostClock) -> None:
    before, after = upkeep.vacuum(place, host)
    print(f"{place.file}: {before} bytes before, {after} after")


def _check_history(place: Place) -> None:
    report = history.check(place)
    print(f"file       {place.file}, {place.size()} bytes")
    print("rows       " + ", ".join(f"{number} {table}" for table, number in report.items()))
    print("history: fine")


def _vacuum_history(place: Place) -> None:
    before, after = history.vacuum(place)
    print(f"{place.file}: {before} bytes before, {after} after")


def _export(place: Place, host: HostClock) -> None:
    _print_documents(upkeep.export(place, host))


def _print_documents(documents: Iterable[tuple[str, Document]]) -> None:
    for key, document in documents:
        line = {"key": key, "age_seconds": round(document.age_seconds, 3), **_value(document)}
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")


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

#: The history has no export here; `/api/v1/history` serves it.
_OF_HISTORY: Mapping[str, Callable[[Place], None]] = {
    "check": _check_history,
    "vacuum": _vacuum_history,
}
