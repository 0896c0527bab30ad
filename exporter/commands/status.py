"""`status`: polls every task once and prints a table for people or data for scripts."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.commands import remote, selection
from exporter.commands.configuration import load_settings, warn_of_own_ledger
from exporter.commands.progress import progress
from exporter.commands.report import Report
from exporter.commands.terminal import Paper, add_colour, has_colour, showing
from exporter.errors import ExporterError
from exporter.overview.document import plain
from exporter.overview.picture import pictures_of
from exporter.overview.problems import WRONG
from exporter.overview.rows import Condition
from exporter.overview.verdict import headline, tallies
from exporter.polling.engine import connected
from exporter.process import stop_signals
from exporter.settings import flags
from exporter.settings.load import configure_for


if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from exporter.commands.selection import Selection
    from exporter.commands.terminal import Written
    from exporter.overview.document import Told
    from exporter.overview.picture import Picture
    from exporter.overview.rows import TargetRow
    from exporter.overview.sources import SourceRow
    from exporter.overview.verdict import Tally
    from exporter.settings.load import Settings
    from exporter.sources.settings import SourceSettings

    #: The report to show, and whether the exit code is 1.
    _Seen = tuple[Written, bool]


FORMATS = ("table", "json", "prom")

#: Update interval of a watched table.
REDRAW_SECONDS = 1.0

#: Update interval with `--url`, longer because the daemon sends its whole fleet each time.
REREAD_SECONDS = 2.0


class _MistakeError(ExporterError):
    """A mistake in the flags, such as an unknown source; one sentence per mistake."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the configuration, the selection and the output format."""
    for flag in flags.COMMON:
        flag.add_to(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="table: text for people; json; prom: metrics in the Prometheus text format",
    )
    add_colour(parser)
    parser.add_argument(
        "--watch",
        action="store_true",
        help="keep polling at the configured intervals and update the table",
    )
    selection.add_arguments(parser)
    remote.add_url(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Poll and print, once or until interrupted.

    Returns:
        The exit code: 0, 1 if the report is alarming or the daemon cannot be asked, 2 for a mistake
        in the arguments.
    """
    colour = has_colour(arguments.color, environ)
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
    """Check that the flags can be combined.

    Raises:
        _MistakeError: They contradict each other.
    """
    if arguments.watch and arguments.format != "table":
        raise _MistakeError("--watch works only with --format table")
    picked = ("kind", "state", "down", "group_by")
    given = [f"--{name.replace('_', '-')}" for name in picked if getattr(arguments, name)]
    if arguments.format == "prom" and given:
        raise _MistakeError(
            f"--format prom prints all metrics of a source; leave out {', '.join(given)}"
        )
    if arguments.url and (wrong := remote.beside_url(arguments)):
        raise _MistakeError(wrong)


def _selected(
    arguments: argparse.Namespace, sources: Iterable[SourceRow | SourceSettings]
) -> Selection:
    """Return the selected part of the fleet.

    Raises:
        _MistakeError: A source, label or group does not exist.
    """
    chosen, mistakes = selection.selected(arguments, sources)
    if mistakes:
        raise _MistakeError(*mistakes)
    return chosen


def _narrowed(settings: Settings, chosen: Selection) -> Settings:
    """Return settings with only the selected sources.

    Preflights are about the whole fleet, so a selection drops them.
    """
    sources = tuple(source for source in settings.sources if chosen.judges(source.name))
    preflights = settings.preflights if chosen.sources is None else ()
    return settings.model_copy(update={"sources": sources, "preflights": preflights})


def _report(found: Picture | Told, chosen: Selection, at: float) -> Report:
    """Return the report of the selection. A selection of sources gets its own verdict."""
    answer = found.headline
    targets: Sequence[TargetRow] = found.targets
    sources = [source for source in found.sources if chosen.judges(source.name)]
    if chosen.sources is not None:
        targets = [row for row in targets if chosen.judges(row.source)]
        judged = list(filter(chosen.judges_problem, found.problems))
        answer = headline(targets, sources, judged, ready=found.ready)
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
        sys.stdout.buffer.write(msgspec.json.encode(plain(data)) + b"\n")
    else:
        sys.stdout.write(report.text(Paper.of_output(colour=colour)))


def _group(tally: Tally) -> dict[str, Any]:
    counts = {**dict.fromkeys((*WRONG, *Condition), 0), **dict(tally.wrong), **dict(tally.counts)}
    return {
        "value": tally.value,
        "targets": tally.total,
        **{str(name): number for name, number in counts.items()},
    }


async def _poll(settings: Settings, chosen: Selection, form: str, *, colour: bool) -> int:
    async with connected(settings) as engine:
        # A script that reads the output from a pipe shows its own progress.
        waits = sys.stderr.isatty() and (form == "table" or sys.stdout.isatty())
        async with progress(engine, sys.stderr, wanted=waits):
            await engine.poll_once()
        found = await pictures_of(engine, settings).newest()
    report = _report(found, chosen, engine.clock.time())
    if form == "prom":
        sys.stdout.buffer.write(engine.exposition.metrics().body)
    else:
        _write(report, form, colour=colour)
    warn_of_own_ledger("status", engine)
    return int(report.answer.alarming)


async def _watch(settings: Settings, chosen: Selection, *, colour: bool) -> int:
    """Poll on schedule until interrupted; the last table stays on the screen."""
    async with connected(settings) as engine:
        engine.begin()
        pictures = pictures_of(engine, settings)

        async def newest() -> _Seen:
            report = _report(await pictures.newest(), chosen, engine.clock.time())
            return report.text, report.answer.alarming

        failing = await _follow(newest, REDRAW_SECONDS, colour=colour)
    warn_of_own_ledger("status", engine)
    return int(failing)


async def _follow(
    newest: Callable[[], Awaitable[_Seen]], pause_seconds: float, *, colour: bool
) -> bool:
    """Show the newest report until interrupted; return whether the exit code is 1.

    Raises:
        KeyboardInterrupt: The interrupt came before the first report.
    """
    failing: bool | None = None

    async def show_all(show: Callable[[Written], None]) -> None:
        nonlocal failing
        while True:
            written, failing = await newest()
            show(written)
            await asyncio.sleep(pause_seconds)

    with stop_signals() as stop, showing(sys.stdout, colour=colour) as show:
        tasks = {asyncio.create_task(show_all(show)), asyncio.create_task(stop.wait())}
        # An interrupt does not wait for an outstanding answer.
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.wait(tasks)
        for task in done:
            task.result()
    if failing is None:
        raise KeyboardInterrupt
    return failing


async def _asked(arguments: argparse.Namespace) -> tuple[Report, Selection]:
    """Ask a daemon and return the report of the selection, and the selection.

    Raises:
        NotAskedError: The request failed, or the daemon has another version.
        _MistakeError: The daemon does not poll a selected source.
    """
    told, _ = await remote.fleet(arguments.url)
    chosen = _selected(arguments, told.sources)
    return _report(told, chosen, SYSTEM_CLOCK.time()), chosen


async def _ask(arguments: argparse.Namespace, *, colour: bool) -> int:
    report, chosen = await _asked(arguments)
    if arguments.format == "prom":
        query = urlencode([("source", name) for name in sorted(chosen.sources or ())])
        page = await remote.get(
            arguments.url, f"/metrics{'?' if query else ''}{query}", accept="text/plain"
        )
        sys.stdout.buffer.write(page.body)
    else:
        _write(report, arguments.format, colour=colour)
    return int(report.answer.alarming)


async def _watch_daemon(arguments: argparse.Namespace, *, colour: bool) -> int:
    """Ask a daemon repeatedly until interrupted, also across its restarts.

    Raises:
        NotAskedError: The first request failed.
        _MistakeError: The daemon does not poll a selected source.
    """
    answered = False

    async def newest() -> _Seen:
        nonlocal answered
        try:
            report, _ = await _asked(arguments)
        except remote.NotAskedError as error:
            if not answered:
                raise
            return partial(_silent, error), True
        answered = True
        return report.text, report.answer.alarming

    return int(await _follow(newest, REREAD_SECONDS, colour=colour))


def _silent(error: remote.NotAskedError, _: Paper) -> str:
    return f"{error}\n"
