"""`status`: every task polled once, as a table for people or as data for scripts."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from exporter.commands.configuration import load_settings
from exporter.commands.terminal import Paper, Report, showing
from exporter.overview.build import arranged, runs_in_flight, target_rows
from exporter.overview.sources import source_rows
from exporter.overview.verdict import headline
from exporter.polling.engine import connected
from exporter.process import stop_signals
from exporter.settings import flags
from exporter.settings.load import configure_for
from exporter.web.endpoints.api import plain


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from exporter.polling.engine import Engine
    from exporter.settings.load import Settings


SUMMARY = (
    "poll once and print how the fleet is; exit 1 if anything active or a source is down, or if"
    " targets could not be read"
)

FORMATS = ("table", "json", "prom")

COLOURS = ("auto", "always", "never")

#: The interval at which a watched table is brought up to date.
REDRAW_SECONDS = 1.0


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


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Poll everything and tell, once or until interrupted."""
    if arguments.watch and arguments.format != "table":
        print("status: --watch goes with --format table only", file=sys.stderr)
        return 2
    loaded = load_settings(arguments, environ)
    settings = loaded.settings
    configure_for(settings, level="warn", warnings=loaded.warnings)
    colour = _colour(arguments.color, environ)
    if arguments.watch:
        return asyncio.run(_watch(settings, colour=colour))
    return asyncio.run(_status(settings, arguments.format, colour=colour))


def _colour(wanted: str, environ: Mapping[str, str]) -> bool:
    if wanted != "auto":
        return wanted == "always"
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _report(engine: Engine) -> Report:
    now = engine.clock.now()
    sources = source_rows(engine.pollers.values(), engine.store, now)
    snapshots = engine.store.snapshots()
    targets = arranged(target_rows(snapshots, now))
    return Report(
        answer=headline(targets, sources, ready=engine.first_polls_done),
        sources=sources,
        targets=targets,
        runs=runs_in_flight(snapshots, now),
    )


async def _status(settings: Settings, form: str, *, colour: bool) -> int:
    async with connected(settings) as engine:
        await engine.poll_once()
    report = _report(engine)
    if form == "prom":
        page = engine.exposition.metrics()
        sys.stdout.write(page.body.decode())
    elif form == "json":
        data = {"sources": report.sources, "targets": report.targets, "runs": report.runs}
        sys.stdout.write(msgspec.json.encode(plain(data)).decode() + "\n")
    else:
        sys.stdout.write(report.text(Paper(colour=colour)))
    return int(report.answer.alarming)


async def _watch(settings: Settings, *, colour: bool) -> int:
    """Poll on schedule until interrupted; the last table stays on the screen."""
    async with connected(settings) as engine:
        engine.begin()
        with stop_signals() as stop, showing(sys.stdout, colour=colour) as show:
            while not stop.is_set():
                show(_report(engine).text)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REDRAW_SECONDS)
    return int(_report(engine).answer.alarming)
