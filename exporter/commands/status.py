"""`status`: one round of polls, as a table for people or as data for scripts."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from exporter.commands.configuration import load_settings
from exporter.commands.terminal import Paper, report, showing
from exporter.daemon import stop_signals
from exporter.overview.build import arranged, target_rows
from exporter.overview.daemon import source_view
from exporter.overview.rows import RunRow, TargetRow
from exporter.overview.runs import runs_in_flight
from exporter.overview.verdict import Headline, SourceRow, headline, source_row
from exporter.polling.engine import Engine
from exporter.settings import flags
from exporter.settings.load import configure_for
from exporter.web.endpoints.api import plain


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from exporter.settings.load import Settings


SUMMARY = (
    "poll once and print how the fleet is; exit 1 if anything active or a source is down, or if"
    " targets could not be read"
)

FORMATS = ("table", "json", "prom")

COLOURS = ("auto", "always", "never")

#: How often a watched table is brought up to date.
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


class _Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment."""

    answer: Headline
    sources: list[SourceRow]
    targets: list[TargetRow]
    runs: list[RunRow]

    @classmethod
    def of(cls, engine: Engine) -> _Picture:
        """Take one."""
        now = engine.clock.now()
        engine.store.expire()
        snapshots = engine.store.snapshots()
        sources = [
            source_row(source_view(poller, engine.store), now) for poller in engine.pollers.values()
        ]
        targets = arranged(target_rows(snapshots, now))
        return cls(
            answer=headline(targets, sources, ready=engine.first_round_done),
            sources=sources,
            targets=targets,
            runs=runs_in_flight(snapshots, now),
        )

    @property
    def code(self) -> int:
        """The exit code."""
        return int(self.answer.alarming)

    def text(self, paper: Paper) -> str:
        """Write it down."""
        return report(self.answer, self.sources, self.targets, self.runs, paper=paper)


async def _status(settings: Settings, form: str, *, colour: bool) -> int:
    engine = Engine()
    engine.connect(settings)
    try:
        await engine.round()
    finally:
        await engine.end(grace_seconds=0)
    picture = _Picture.of(engine)
    if form == "prom":
        page = engine.exposition.metrics(accept="", accept_encoding="", names=(), sources=())
        sys.stdout.write(page.body.decode())
    elif form == "json":
        data = {"sources": picture.sources, "targets": picture.targets, "runs": picture.runs}
        sys.stdout.write(msgspec.json.encode(plain(data)).decode() + "\n")
    else:
        sys.stdout.write(picture.text(Paper(colour=colour)))
    return picture.code


async def _watch(settings: Settings, *, colour: bool) -> int:
    """Poll on schedule until interrupted; the last table stays on the screen."""
    engine = Engine()
    engine.connect(settings)
    engine.begin()
    try:
        with stop_signals() as stop, showing(sys.stdout, colour=colour) as show:
            while not stop.is_set():
                show(_Picture.of(engine).text)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REDRAW_SECONDS)
    finally:
        await engine.end(grace_seconds=0)
    return _Picture.of(engine).code
