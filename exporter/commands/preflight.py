"""`preflight`: whether the fleet is fit for a test, asked of a daemon or of the vendors."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from exporter.clock import SYSTEM_CLOCK
from exporter.commands import demands, remote
from exporter.commands.configuration import duration, load_settings, warn_of_own_ledger
from exporter.commands.preflight_formats import FORMATS, Answer, unanswered, write
from exporter.commands.progress import Waiting, progress
from exporter.commands.terminal import add_colour, has_colour, printable
from exporter.config.words import one_of
from exporter.errors import ExporterError
from exporter.overview import document
from exporter.overview.picture import pictures_of
from exporter.overview.preflight.fitness import kinds_of
from exporter.overview.preflight.judge import judge
from exporter.overview.preflight.report import Status
from exporter.polling.engine import connected
from exporter.settings import flags
from exporter.settings.load import configure_for
from exporter.settings.preflights import NO_PREFLIGHTS, listed_kinds
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from exporter.clock import Clock
    from exporter.settings.load import Settings
    from exporter.settings.preflights import PreflightSettings
    from exporter.sources.settings import SourceSettings

    #: Asks once, within so many seconds.
    Ask = Callable[[float], Awaitable[Answer]]


#: Exit codes; 2 is a mistake in usage or configuration.
CODES = {Status.FIT: 0, Status.NOT_FIT: 1, Status.NOT_KNOWN: 3}

#: The pause before a daemon is asked again.
REASK_SECONDS = 5.0

#: The pause before it is judged again what the command's own polls have found.
REJUDGE_SECONDS = 1.0

#: A daemon has so long for an answer even if the time is over sooner.
LEAST_SECONDS = 1.0

_PAGE = "/api/v1/preflight"

#: Of replies that say something of preflights or of what was asked for.
_ANSWERS = frozenset(
    {
        HTTPStatus.OK,
        HTTPStatus.CONFLICT,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
    }
)

_REMEDY = "; or give conditions as flags, such as --agents='ubuntu.*' --min-up=10"


class _Refusal(msgspec.Struct, rename="camel"):
    """The envelope of the daemon's errors."""

    error: str
    error_type: str


class _MistakeError(ExporterError):
    """The command asks for a preflight that does not exist; the arguments are sentences."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take which preflights, or conditions; how long to wait; the form of the answer."""
    for flag in flags.COMMON:
        flag.add_to(parser)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a preflight of the configuration; all of them without a name and without conditions",
    )
    demands.add_arguments(parser)
    parser.add_argument(
        "--wait",
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="ask again until the fleet is fit, for this long at most",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="table for people, json as /api/v1/preflight has it, junit for reports of tests,"
        " github for annotations and the summary of a job",
    )
    add_colour(parser)
    remote.add_url(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask, once or until the fleet is fit, and tell."""
    told = partial(
        write,
        form=arguments.format,
        colour=has_colour(arguments.color, environ),
        environ=environ,
    )
    try:
        _check(arguments)
        asked = _daemon(arguments) if arguments.url else _vendors(arguments, environ)
        answer = asyncio.run(asked)
    except _MistakeError as error:
        for mistake in error.args:
            print(f"preflight: {mistake}", file=sys.stderr)
        return 2
    except remote.NotAskedError as error:
        print(f"preflight: {error}", file=sys.stderr)
        if arguments.format in ("junit", "github"):
            told(unanswered(str(error), at=SYSTEM_CLOCK.time()))
        return CODES[Status.NOT_KNOWN]
    if answer.lost:
        print(f"preflight: no answer since this one: {answer.lost}", file=sys.stderr)
    told(answer)
    return CODES[answer.status]


def _check(arguments: argparse.Namespace) -> None:
    """Check that names and flags go together.

    Raises:
        _MistakeError: They do not.
    """
    if not all(arguments.names):
        raise _MistakeError("a NAME has no value")
    given = demands.given(arguments)
    if arguments.names and given:
        raise _MistakeError(
            f"{', '.join(given)} cannot change a preflight of the configuration; leave out"
            " either the flags or the names"
        )
    if arguments.url and (wrong := remote.beside_url(arguments)):
        raise _MistakeError(wrong)


async def awaited(
    ask: Ask, *, wait_seconds: float, pause_seconds: float, clock: Clock, waiting: Waiting
) -> Answer:
    """Ask until the fleet is fit or the time is over.

    Args:
        ask: Asks once.
        wait_seconds: The time; with 0 it asks once.
        pause_seconds: From an answer to the next question; the last one is asked in the end.
        clock: Where time comes from.
        waiting: Is told what is waited for.

    Returns:
        The last answer. What gives none, as a daemon that is restarted, is asked again.

    Raises:
        NotAskedError: There was none, or there will be none.
    """
    end = clock.monotonic() + wait_seconds
    last: Answer | None = None
    while True:
        try:
            last = await ask(end - clock.monotonic())
        except remote.NotAskedError as error:
            left = end - clock.monotonic()
            if last is None and (left <= 0 or error.lasting):
                raise
            what = str(error)
            last = last and msgspec.structs.replace(last, lost=what)
        else:
            left, what = end - clock.monotonic(), last.summary
        if last is not None and (left <= 0 or last.status is Status.FIT):
            return last
        waiting.tell(what, left)
        await clock.sleep(min(pause_seconds, left))


async def _waited(arguments: argparse.Namespace, ask: Ask, pause_seconds: float) -> Answer:
    waiting = Waiting(sys.stderr, "preflight")
    try:
        return await awaited(
            ask,
            wait_seconds=arguments.wait,
            pause_seconds=pause_seconds,
            clock=SYSTEM_CLOCK,
            waiting=waiting,
        )
    finally:
        waiting.end()


# -- A daemon -----------------------------------------------------------------------------------


async def _daemon(arguments: argparse.Namespace) -> Answer:
    """Ask a daemon, without a call to a vendor.

    Raises:
        NotAskedError: It gives no answer.
        _MistakeError: It does not know what is asked for.
    """
    asks = _conditions if demands.given(arguments) else _named

    async def ask(left_seconds: float) -> Answer:
        waits = bool(arguments.wait)
        seconds = max(LEAST_SECONDS, left_seconds) if waits else remote.TIMEOUT_SECONDS
        return await asks(arguments, min(seconds, remote.TIMEOUT_SECONDS))

    return await _waited(arguments, ask, REASK_SECONDS)


async def _named(arguments: argparse.Namespace, seconds: float) -> Answer:
    """Ask for the daemon's own judgement."""
    names: Sequence[str] = arguments.names
    # An argument can hold bytes that are no text: these make it a name that is not there.
    query = urlencode([("name", name) for name in names], errors="backslashreplace")
    page = f"{_PAGE}?{query}" if query else _PAGE
    reply = await remote.get(arguments.url, page, answers=_ANSWERS, timeout_seconds=seconds)
    at = reply.date_seconds or SYSTEM_CLOCK.time()
    try:
        found = document.reports(reply.body)
    except ValueError:
        if reply.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            _refuse(reply.body)
        if reply.status == HTTPStatus.OK:
            raise remote.not_a_daemon(arguments.url) from None
        raise remote.refused(f"{arguments.url}{page}", reply) from None
    if names and {report.name for report in found} != set(names):
        raise remote.not_a_daemon(arguments.url)
    return Answer(reports=found, at=at)


def _refuse(body: bytes) -> None:
    """Tell what the daemon finds wrong with the question, if it is the daemon that answers.

    Raises:
        _MistakeError: It has told.
    """
    try:
        error = printable(msgspec.json.decode(body, type=_Refusal).error)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    if error == NO_PREFLIGHTS:
        raise _MistakeError(f"{error}{_REMEDY}")
    raise _MistakeError(error.replace("name must be", "NAME must be", 1))


async def _conditions(arguments: argparse.Namespace, seconds: float) -> Answer:
    """Judge what a daemon knows, by its clock: ours may be off.

    Raises:
        NotAskedError: It gives no answer.
        _MistakeError: The conditions are wrong, or it knows a part of the fleet alone.
    """
    told, date = await remote.fleet(arguments.url, timeout_seconds=seconds)
    if told.total_shards > 1:
        raise _MistakeError(
            f"the daemon at {arguments.url} watches its share of {told.total_shards} shards alone;"
            " ask one that watches the whole fleet, or give --config.file instead of --url"
        )
    if any(source.provider not in PROVIDERS for source in told.sources):
        raise remote.not_a_daemon(arguments.url)
    listing = {
        source.name: listed_kinds(source.provider, [task.name for task in source.tasks])
        for source in told.sources
    }
    settings = _demanded(arguments, listing)
    now = date or SYSTEM_CLOCK.time()
    report = judge(settings, sources=told.sources, targets=told.targets, runs=told.runs, now=now)
    return Answer(reports=(report,), at=now)


def _demanded(
    arguments: argparse.Namespace, listing: Mapping[str, Collection[str]]
) -> PreflightSettings:
    settings, mistakes = demands.read(arguments, listing)
    if mistakes:
        raise _MistakeError(*mistakes)
    return settings


# -- The vendors --------------------------------------------------------------------------------


async def _vendors(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """Poll what the preflights need, once, or on schedule while waiting.

    Raises:
        ConfigurationError: The configuration is wrong.
        _MistakeError: It has not what is asked for.
    """
    loaded = load_settings(arguments, environ)
    settings = _narrowed(loaded.settings, _wanted(arguments, loaded.settings))
    configure_for(settings, level="warn", warnings=loaded.warnings)
    async with connected(settings) as engine:
        pictures = pictures_of(engine, settings)

        async def ask(_: float) -> Answer:
            picture = await pictures.newest()
            return Answer(reports=picture.preflights, at=picture.at.unix)

        if arguments.wait:
            engine.begin()
            answer = await _waited(arguments, ask, REJUDGE_SECONDS)
        else:
            async with progress(engine, sys.stderr, wanted=sys.stderr.isatty()):
                await engine.poll_once()
            answer = await ask(0.0)
    warn_of_own_ledger("preflight", engine)
    if any(each.suites and each.suites.slower_than_usual for each in settings.preflights):
        print(
            "preflight: what is usual of a suite is known to the daemon alone, so slower_than_usual"
            " was not checked; --url asks the daemon instead",
            file=sys.stderr,
        )
    return answer


def _wanted(arguments: argparse.Namespace, settings: Settings) -> tuple[PreflightSettings, ...]:
    """Return the preflights that are asked for.

    Raises:
        _MistakeError: There are none.
    """
    if demands.given(arguments):
        listing = {
            source.name: listed_kinds(source.provider, source.intervals())
            for source in settings.sources
        }
        return (_demanded(arguments, listing),)
    known = {preflight.name: preflight for preflight in settings.preflights}
    if not known:
        raise _MistakeError(f"{NO_PREFLIGHTS}{_REMEDY}")
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        raise _MistakeError(*(f"NAME {one_of(name, known)}" for name in unknown))
    return tuple(known[name] for name in dict.fromkeys(arguments.names or known))


def _narrowed(settings: Settings, wanted: Sequence[PreflightSettings]) -> Settings:
    """Return settings with these preflights and the sources they need, so no other is polled."""
    needed = [need for preflight in wanted for need in kinds_of(preflight).items()]

    def is_needed(source: SourceSettings) -> bool:
        kinds = listed_kinds(source.provider, source.intervals())
        return any(source.name in names if names else kind in kinds for kind, names in needed)

    sources = tuple(filter(is_needed, settings.sources))
    return settings.model_copy(update={"sources": sources, "preflights": tuple(wanted)})
