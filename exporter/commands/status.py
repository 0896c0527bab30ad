"""`status`: every task polled once, as a table for people or as data for scripts."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.commands import remote
from exporter.commands.configuration import load_settings, warn_of_own_ledger
from exporter.commands.terminal import Paper, Report, showing
from exporter.overview.picture import Facts, picture
from exporter.overview.problems import Judge, Problem
from exporter.overview.rows import ROWS, RunRow, TargetRow
from exporter.overview.sources import SourceRow, source_rows
from exporter.overview.verdict import Headline
from exporter.polling.engine import connected
from exporter.process import stop_signals
from exporter.settings import flags
from exporter.settings.load import configure_for
from exporter.web.endpoints.api import plain


if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from exporter.polling.engine import Engine
    from exporter.settings.load import Settings


SUMMARY = (
    "poll once and print how the fleet is; exit 1 if anything active or a source is down, or if"
    " targets could not be read; with --url ask a running daemon instead"
)

FORMATS = ("table", "json", "prom")

COLOURS = ("auto", "always", "never")

#: The interval at which a watched table is brought up to date.
REDRAW_SECONDS = 1.0

#: Likewise where a daemon is asked, which writes down its whole fleet each time.
REREAD_SECONDS = 2.0


class _Status(msgspec.Struct):
    ready: bool
    headline: Headline
    problems: list[Problem]
    sources: list[SourceRow]
    targets: list[dict[str, Any]]
    runs: list[RunRow]


class _Reply(msgspec.Struct):
    data: _Status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that name a configuration, and the form of the answer."""
    for flag in flags.COMMON:
        flag.add_to(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default="table", help="table for people, json, or prom"
    )
    parser.add_argument(
        "--color",
        choices=COLOURS,
        default="auto",
        help="auto: on a terminal, unless $NO_COLOR is set",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="go on polling at the configured intervals and keep the table up to date",
    )
    remote.add_url(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Poll everything and tell, once or until interrupted."""
    if arguments.watch and arguments.format != "table":
        print("status: --watch goes with --format table only", file=sys.stderr)
        return 2
    colour = _colour(arguments.color, environ)
    if arguments.url:
        return _ask(arguments, colour=colour)
    loaded = load_settings(arguments, environ)
    settings = loaded.settings
    configure_for(settings, level="warn", warnings=loaded.warnings)
    if arguments.watch:
        return asyncio.run(_watch(settings, colour=colour))
    return asyncio.run(_status(settings, arguments.format, colour=colour))


def _colour(wanted: str, environ: Mapping[str, str]) -> bool:
    if wanted != "auto":
        return wanted == "always"
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _report(engine: Engine, judge: Judge) -> Report:
    facts = Facts(
        snapshots=engine.store.snapshots(),
        sources=tuple(source_rows(engine.pollers.values(), engine.store)),
        judge=judge,
        ready=engine.first_polls_done,
    )
    found = picture(facts, engine.clock.now())
    return Report(
        answer=found.headline,
        problems=found.problems,
        sources=found.sources,
        targets=found.targets,
        runs=found.runs,
    )


def _write(report: Report, form: str, *, colour: bool) -> None:
    if form == "json":
        data = {
            "headline": report.answer,
            "problems": report.problems,
            "sources": report.sources,
            "targets": report.targets,
            "runs": report.runs,
        }
        sys.stdout.write(msgspec.json.encode(plain(data)).decode() + "\n")
    else:
        sys.stdout.write(report.text(Paper(colour=colour)))


async def _status(settings: Settings, form: str, *, colour: bool) -> int:
    async with connected(settings) as engine:
        await engine.poll_once()
    report = _report(engine, Judge.of(settings.alerting, engine.telemetry.registry, serves=False))
    if form == "prom":
        page = engine.exposition.metrics()
        sys.stdout.write(page.body.decode())
    else:
        _write(report, form, colour=colour)
    warn_of_own_ledger("status", engine)
    return int(report.answer.alarming)


async def _watch(settings: Settings, *, colour: bool) -> int:
    """Poll on schedule until interrupted; the last table stays on the screen."""
    async with connected(settings) as engine:
        engine.begin()
        judge = Judge.of(settings.alerting, engine.telemetry.registry, serves=False)
        with stop_signals() as stop, showing(sys.stdout, colour=colour) as show:
            while not stop.is_set():
                show(_report(engine, judge).text)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REDRAW_SECONDS)
    warn_of_own_ledger("status", engine)
    return int(_report(engine, judge).answer.alarming)


def _ask(arguments: argparse.Namespace, *, colour: bool) -> int:
    """Ask a daemon and tell, once or until interrupted."""
    if wrong := remote.beside_url(arguments):
        print(f"status: {wrong}", file=sys.stderr)
        return 2
    asking = (
        _watch_daemon(arguments.url, colour=colour)
        if arguments.watch
        else _status_of(arguments.url, arguments.format, colour=colour)
    )
    try:
        return asyncio.run(asking)
    except remote.NotAskedError as error:
        print(f"status: {error}", file=sys.stderr)
        return 1


async def _told(url: str) -> tuple[Report, bool]:
    """Return what a daemon says of its fleet, and whether a script should fail.

    A daemon that has only just begun knows nothing yet, which is not well.
    """
    reply = await remote.get(url, "/api/v1/status")
    try:
        data = msgspec.json.decode(reply.body, type=_Reply).data
        targets = [_row(target) for target in data.targets]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise remote.not_a_daemon(url) from None
    report = Report(
        answer=data.headline,
        problems=data.problems,
        sources=data.sources,
        targets=targets,
        runs=data.runs,
    )
    return report, data.headline.alarming or not data.ready


def _row(data: dict[str, Any]) -> TargetRow:
    """Make a row of what `plain` has made of one.

    Raises:
        msgspec.ValidationError: It is none that this version knows.
    """
    row = ROWS.get(str(data.get("kind")), TargetRow)
    numbers = {field.name for field in msgspec.structs.fields(row) if field.type == float | None}
    found = {
        key: float(value) if key in numbers and value in ("+Inf", "-Inf") else value
        for key, value in data.items()
    }
    return msgspec.convert(found, row)


async def _status_of(url: str, form: str, *, colour: bool) -> int:
    report, failing = await _told(url)
    if form == "prom":
        page = await remote.get(url, "/metrics", accept="text/plain")
        sys.stdout.write(page.body.decode(errors="replace"))
    else:
        _write(report, form, colour=colour)
    return int(failing)


async def _watch_daemon(url: str, *, colour: bool) -> int:
    """Ask again and again until interrupted; a daemon that is restarted is waited for.

    Raises:
        NotAskedError: It could not be asked even once.
    """
    report, failing = await _told(url)
    text: Callable[[Paper], str] = report.text
    with stop_signals() as stop, showing(sys.stdout, colour=colour) as show:
        while not stop.is_set():
            show(text)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REREAD_SECONDS)
                break
            try:
                report, failing = await _told(url)
                text = report.text
            except remote.NotAskedError as error:
                text, failing = partial(_silent, error), True
    return int(failing)


def _silent(error: remote.NotAskedError, _: Paper) -> str:
    return f"{error}\n"
