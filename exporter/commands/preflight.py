"""`preflight`: checks whether the fleet is fit for a test, through a daemon or the vendors."""

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

    #: Gets one answer, within the given number of seconds.
    Ask = Callable[[float], Awaitable[Answer]]


#: Exit codes; 2 means a mistake in usage or configuration.
CODES = {Status.FIT: 0, Status.NOT_FIT: 1, Status.NOT_KNOWN: 3}

#: Pause between two requests to a daemon.
REASK_SECONDS = 5.0

#: Pause between two judgements of the command's own polls.
REJUDGE_SECONDS = 1.0

#: Minimum time-out of a request to a daemon, also when less of `--wait` is left.
LEAST_SECONDS = 1.0

_PAGE = "/api/v1/preflight"

#: Statuses of replies that report preflights or a mistake in the request.
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
    """The JSON document of the daemon's errors."""

    error: str
    error_type: str


class _MistakeError(ExporterError):
    """A mistake in the arguments, such as an unknown preflight; one sentence per mistake."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the preflights or conditions, the waiting time and the output format."""
    for flag in flags.COMMON:
        flag.add_to(parser)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a preflight of the configuration; default: all of them, unless conditions are given",
    )
    demands.add_arguments(parser)
    parser.add_argument(
        "--wait",
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="repeat the check until the fleet is fit, for at most this long",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="table: text for people; json: as from /api/v1/preflight; junit: for test reports;"
        " github: annotations and job summary for GitHub Actions",
    )
    add_colour(parser)
    remote.add_url(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Check once or until the fleet is fit, and write the answer.

    Returns:
        The exit code: one of `CODES`, or 2 for a mistake in the arguments.
    """
    output = partial(
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
            output(unanswered(str(error), at=SYSTEM_CLOCK.time()))
        return CODES[Status.NOT_KNOWN]
    if answer.lost:
        print(f"preflight: no newer answer: {answer.lost}", file=sys.stderr)
    output(answer)
    return CODES[answer.status]


def _check(arguments: argparse.Namespace) -> None:
    """Check that names and flags can be combined.

    Raises:
        _MistakeError: They contradict each other.
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

    A failed request, for instance during a restart of the daemon, is repeated.

    Args:
        ask: Gets one answer.
        wait_seconds: The time limit; with 0, ask once.
        pause_seconds: Pause between two requests; the last request is sent at the time limit.
        clock: The source of time.
        waiting: Shows the reason for waiting.

    Returns:
        The last answer.

    Raises:
        NotAskedError: There was no answer within the time limit, or the error is lasting.
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
    """Return the answer of a daemon, without a call to a vendor.

    Raises:
        NotAskedError: The daemon gives no answer.
        _MistakeError: The daemon does not know the preflight or a source.
    """
    asks = _conditions if demands.given(arguments) else _named

    async def ask(left_seconds: float) -> Answer:
        waits = bool(arguments.wait)
        seconds = max(LEAST_SECONDS, left_seconds) if waits else remote.TIMEOUT_SECONDS
        return await asks(arguments, min(seconds, remote.TIMEOUT_SECONDS))

    return await _waited(arguments, ask, REASK_SECONDS)


async def _named(arguments: argparse.Namespace, seconds: float) -> Answer:
    """Return the daemon's own judgement of the named preflights."""
    names: Sequence[str] = arguments.names
    # An argument may contain invalid UTF-8, which is escaped and so becomes an unknown name.
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
    """Raise the mistake that the daemon reports; do nothing if the reply is not the daemon's.

    Raises:
        _MistakeError: With the daemon's error text.
    """
    try:
        error = printable(msgspec.json.decode(body, type=_Refusal).error)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    if error == NO_PREFLIGHTS:
        raise _MistakeError(f"{error}{_REMEDY}")
    raise _MistakeError(error.replace("name must be", "NAME must be", 1))


async def _conditions(arguments: argparse.Namespace, seconds: float) -> Answer:
    """Judge the conditions on a daemon's status by the daemon's clock; this machine's may be wrong.

    Raises:
        NotAskedError: The daemon gives no answer.
        _MistakeError: The conditions are wrong, or the daemon polls only one shard of the fleet.
    """
    fleet, date = await remote.fleet(arguments.url, timeout_seconds=seconds)
    if fleet.total_shards > 1:
        raise _MistakeError(
            f"the daemon at {arguments.url} polls only one of {fleet.total_shards} shards;"
            " ask a daemon that polls the whole fleet, or give --config.file instead of --url"
        )
    if any(source.provider not in PROVIDERS for source in fleet.sources):
        raise remote.not_a_daemon(arguments.url)
    listing = {
        source.name: listed_kinds(source.provider, [task.name for task in source.tasks])
        for source in fleet.sources
    }
    settings = _demanded(arguments, listing)
    now = date or SYSTEM_CLOCK.time()
    report = judge(settings, sources=fleet.sources, targets=fleet.targets, runs=fleet.runs, now=now)
    return Answer(reports=(demands.by_flags(report),), at=now)


def _demanded(
    arguments: argparse.Namespace, listing: Mapping[str, Collection[str]]
) -> PreflightSettings:
    settings, mistakes = demands.read(arguments, listing)
    if mistakes:
        raise _MistakeError(*mistakes)
    return settings


# -- The vendors --------------------------------------------------------------------------------


async def _vendors(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """Poll the sources that the preflights need, once, or on schedule while waiting.

    Raises:
        ConfigurationError: The configuration is wrong.
        _MistakeError: The configuration lacks the preflight or a source.
    """
    loaded = load_settings(arguments, environ)
    settings = _narrowed(loaded.settings, _wanted(arguments, loaded.settings))
    configure_for(settings, level="warn", warnings=loaded.warnings)
    async with connected(settings) as engine:
        pictures = pictures_of(engine, settings)

        async def ask(_: float) -> Answer:
            picture = await pictures.newest()
            reports = picture.preflights
            if demands.given(arguments):
                reports = tuple(map(demands.by_flags, reports))
            return Answer(reports=reports, at=picture.at.unix)

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
            "preflight: only the daemon knows the usual duration of a suite, so slower_than_usual"
            " was not checked; --url asks the daemon instead",
            file=sys.stderr,
        )
    return answer


def _wanted(arguments: argparse.Namespace, settings: Settings) -> tuple[PreflightSettings, ...]:
    """Return the requested preflights.

    Raises:
        _MistakeError: There are no preflights, or a name is unknown.
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
    """Return settings with only these preflights and the sources that they need."""
    needed = [need for preflight in wanted for need in kinds_of(preflight).items()]

    def is_needed(source: SourceSettings) -> bool:
        kinds = listed_kinds(source.provider, source.intervals())
        return any(source.name in names if names else kind in kinds for kind, names in needed)

    sources = tuple(filter(is_needed, settings.sources))
    return settings.model_copy(update={"sources": sources, "preflights": tuple(wanted)})
