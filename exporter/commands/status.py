"""`status`: every task polled once, as a table for people or as data for scripts."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.commands import remote, selection
from exporter.commands.configuration import load_settings, warn_of_own_ledger
from exporter.commands.progress import progress
from exporter.commands.report import Report
from exporter.commands.terminal import Paper, showing
from exporter.errors import ExporterError
from exporter.overview.picture import Facts, picture
from exporter.overview.problems import WRONG, Judge, Problem
from exporter.overview.rows import ROWS, Condition, RunRow, TargetRow
from exporter.overview.sources import SourceRow, source_rows
from exporter.overview.verdict import Headline, headline, tallies
from exporter.polling.engine import connected
from exporter.process import stop_signals
from exporter.settings import flags
from exporter.settings.load import configure_for
from exporter.web.endpoints.api import plain


if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from exporter.commands.selection import Selection
    from exporter.overview.verdict import Tally
    from exporter.polling.engine import Engine
    from exporter.settings.load import Settings
    from exporter.sources.settings import SourceSettings


SUMMARY = (
    "poll once and print how the fleet is; exit 1 if a critical or warning condition of the alert"
    " table holds or something could not be read; with --url ask a running daemon instead"
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
    problems: Sequence[Problem]
    sources: Sequence[SourceRow]
    targets: Sequence[TargetRow]
    runs: Sequence[RunRow]


class _Told(msgspec.Struct):
    """What a daemon says of its fleet; the rows of targets depend on their kinds."""

    ready: bool
    headline: Headline
    problems: list[Problem]
    sources: list[SourceRow]
    targets: list[dict[str, Any]]
    runs: list[RunRow]


class _Reply(msgspec.Struct):
    data: _Told


class _MistakeError(ExporterError):
    """A flag asks for what there is not; the arguments are sentences."""


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
    selection.add_arguments(parser)
    remote.add_url(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Poll everything and tell, once or until interrupted."""
    colour = _colour(arguments.color, environ)
    try:
        _check(arguments)
        if arguments.url:
            asks = _watch_daemon if arguments.watch else _ask
            return asyncio.run(asks(arguments, colour=colour))
        loaded = load_settings(arguments, environ)
        chosen = _selected(arguments, loaded.settings.sources)
        settings = _narrowed(loaded.settings, chosen)
        configure_for(settings, level="warn", warnings=loaded.warnings)
        if arguments.watch:
            return asyncio.run(_watch(settings, chosen, colour=colour))
        return asyncio.run(_poll(settings, chosen, arguments.format, colour=colour))
    except _MistakeError as error:
        for mistake in error.args:
            print(f"status: {mistake}", file=sys.stderr)
        return 2
    except remote.NotAskedError as error:
        print(f"status: {error}", file=sys.stderr)
        return 1


def _check(arguments: argparse.Namespace) -> None:
    """Check that the flags go together.

    Raises:
        _MistakeError: They do not.
    """
    if arguments.watch and arguments.format != "table":
        raise _MistakeError("--watch goes with --format table only")
    picked = ("kind", "state", "down", "group_by")
    given = [f"--{name.replace('_', '-')}" for name in picked if getattr(arguments, name)]
    if arguments.format == "prom" and given:
        raise _MistakeError(
            "--format prom tells all of a source, for Prometheus to choose from; leave out"
            f" {', '.join(given)}"
        )
    if arguments.url and (wrong := remote.beside_url(arguments)):
        raise _MistakeError(wrong)


def _selected(
    arguments: argparse.Namespace, sources: Iterable[SourceRow | SourceSettings]
) -> Selection:
    """Return the part of the fleet that is asked about.

    Raises:
        _MistakeError: There is no such source, label or group.
    """
    chosen, mistakes = selection.selected(arguments, sources)
    if mistakes:
        raise _MistakeError(*mistakes)
    return chosen


def _narrowed(settings: Settings, chosen: Selection) -> Settings:
    """Return settings with only the sources that are asked about, so that no other is polled."""
    sources = tuple(source for source in settings.sources if chosen.judges(source.name))
    return settings.model_copy(update={"sources": sources})


def _colour(wanted: str, environ: Mapping[str, str]) -> bool:
    if wanted != "auto":
        return wanted == "always"
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _known(engine: Engine, judge: Judge) -> _Status:
    """Return what an engine knows."""
    facts = Facts(
        snapshots=engine.store.snapshots(),
        sources=tuple(source_rows(engine.pollers.values(), engine.store)),
        judge=judge,
        ready=engine.first_polls_done,
    )
    found = picture(facts, engine.clock.now())
    return _Status(
        ready=found.ready,
        headline=found.headline,
        problems=found.problems,
        sources=found.sources,
        targets=found.targets,
        runs=found.runs,
    )


def _report(found: _Status, chosen: Selection, at: float) -> Report:
    """Return the part that is asked about, judged by itself if that is some of the sources."""
    answer, targets = found.headline, found.targets
    sources = [source for source in found.sources if chosen.judges(source.name)]
    if chosen.sources is not None:
        targets = [row for row in targets if chosen.judges(row.source)]
        problems = [each for each in found.problems if chosen.judges(each.source)]
        answer = headline(targets, sources, problems, ready=found.ready)
    shown = list(filter(chosen.shows(), targets)) if chosen.picks_rows else targets
    problems = list(chosen.problems(found.problems, shown))
    group = chosen.filters.group
    return Report(
        answer=answer,
        problems=problems,
        sources=sources,
        targets=shown,
        runs=chosen.runs(found.runs),
        at=at,
        told=chosen.told,
        group=group,
        tallies=tallies(shown, group, problems) if group else (),
    )


def _write(report: Report, form: str, *, colour: bool) -> None:
    if form == "json":
        data = {
            "headline": report.answer,
            "problems": report.problems,
            "sources": report.sources,
            "targets": report.targets,
            "runs": report.runs,
            **({"groups": list(map(_group, report.tallies))} if report.group else {}),
        }
        sys.stdout.write(msgspec.json.encode(plain(data)).decode() + "\n")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.write(report.text(Paper(colour=colour, width=width)))


def _group(tally: Tally) -> dict[str, Any]:
    counts = {**dict.fromkeys((*WRONG, *Condition), 0), **dict(tally.wrong), **dict(tally.counts)}
    return {
        "value": tally.value,
        "targets": tally.total,
        **{str(name): number for name, number in counts.items()},
    }


async def _poll(settings: Settings, chosen: Selection, form: str, *, colour: bool) -> int:
    async with connected(settings) as engine:
        # A script that reads our answer from a pipe has its own way to show that it waits.
        waits = sys.stderr.isatty() and (form == "table" or sys.stdout.isatty())
        async with progress(engine, sys.stderr, wanted=waits):
            await engine.poll_once()
    judge = Judge.of(settings.alerting, engine.telemetry.registry, serves=False)
    report = _report(_known(engine, judge), chosen, engine.clock.time())
    if form == "prom":
        page = engine.exposition.metrics()
        sys.stdout.write(page.body.decode())
    else:
        _write(report, form, colour=colour)
    warn_of_own_ledger("status", engine)
    return int(report.answer.alarming)


async def _watch(settings: Settings, chosen: Selection, *, colour: bool) -> int:
    """Poll on schedule until interrupted; the last table stays on the screen."""
    async with connected(settings) as engine:
        engine.begin()
        judge = Judge.of(settings.alerting, engine.telemetry.registry, serves=False)

        def newest() -> Report:
            return _report(_known(engine, judge), chosen, engine.clock.time())

        with stop_signals() as stop, showing(sys.stdout, colour=colour) as show:
            while not stop.is_set():
                show(newest().text)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REDRAW_SECONDS)
    warn_of_own_ledger("status", engine)
    return int(newest().answer.alarming)


async def _told(url: str) -> _Status:
    """Return what a daemon says of its fleet.

    Raises:
        NotAskedError: It cannot be asked, or is none of this version.
    """
    reply = await remote.get(url, "/api/v1/status")
    try:
        data = msgspec.json.decode(reply.body, type=_Reply).data
        targets = [_row(target) for target in data.targets]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise remote.not_a_daemon(url) from None
    return _Status(
        ready=data.ready,
        headline=data.headline,
        problems=data.problems,
        sources=data.sources,
        targets=targets,
        runs=data.runs,
    )


async def _asked(arguments: argparse.Namespace) -> tuple[Report, Selection, bool]:
    """Ask a daemon; return what it says of what is asked, and whether a script should fail.

    A daemon that has only just begun knows nothing yet, which is not well.

    Raises:
        NotAskedError: It could not be asked.
        _MistakeError: It does not watch what is asked for.
    """
    found = await _told(arguments.url)
    chosen = _selected(arguments, found.sources)
    report = _report(found, chosen, SYSTEM_CLOCK.time())
    return report, chosen, report.answer.alarming or not found.ready


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


async def _ask(arguments: argparse.Namespace, *, colour: bool) -> int:
    report, chosen, failing = await _asked(arguments)
    if arguments.format == "prom":
        query = urlencode([("source", name) for name in sorted(chosen.sources or ())])
        page = await remote.get(
            arguments.url, f"/metrics{'?' if query else ''}{query}", accept="text/plain"
        )
        sys.stdout.write(page.body.decode(errors="replace"))
    else:
        _write(report, arguments.format, colour=colour)
    return int(failing)


async def _watch_daemon(arguments: argparse.Namespace, *, colour: bool) -> int:
    """Ask again and again until interrupted; a daemon that is restarted is waited for.

    Raises:
        NotAskedError: It could not be asked even once.
        _MistakeError: It does not watch what is asked for.
    """
    report, _, failing = await _asked(arguments)
    text: Callable[[Paper], str] = report.text
    with stop_signals() as stop, showing(sys.stdout, colour=colour) as show:
        while not stop.is_set():
            show(text)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REREAD_SECONDS)
                break
            try:
                report, _, failing = await _asked(arguments)
                text = report.text
            except remote.NotAskedError as error:
                text, failing = partial(_silent, error), True
    return int(failing)


def _silent(error: remote.NotAskedError, _: Paper) -> str:
    return f"{error}\n"
