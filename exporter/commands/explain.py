"""`explain`: polls one target and shows the vendor's reply, the reading and the samples."""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from exporter.commands import remote
from exporter.commands.configuration import load_settings, warn_of_own_ledger
from exporter.config.words import hint
from exporter.errors import PollError
from exporter.fleet.kinds import EXPLAINED, LISTED
from exporter.polling.engine import Engine, connected
from exporter.settings import flags
from exporter.settings.load import configure_for
from exporter.sources.registry import FAMILIES, PROVIDERS
from exporter.web.endpoints.probe import DEFAULT_SECONDS, explained


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from exporter.settings.load import Settings


#: Longer than the daemon's own time limit for the vendor.
URL_TIMEOUT_SECONDS = DEFAULT_SECONDS + 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the configuration, `--url` and the target."""
    for flag in flags.COMMON:
        flag.add_to(parser)
    remote.add_url(parser)
    parser.add_argument("source", metavar="SOURCE", help="the source's name")
    parser.add_argument("kind", metavar="KIND", help=f"one of: {', '.join(sorted(EXPLAINED))}")
    parser.add_argument("id", metavar="ID", help="the target's id, as in the labels")


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Poll the target once and print the result.

    Returns:
        The exit code: 0, 1 if the poll failed or the daemon gave no answer, 2 for a mistake in the
        arguments.
    """
    if arguments.url:
        return _ask(arguments)
    loaded = load_settings(arguments, environ)
    settings = loaded.settings
    configure_for(settings, level="warn", warnings=loaded.warnings)
    try:
        text = asyncio.run(_explain(settings, arguments))
    except LookupError as error:
        print(f"explain: {error.args[0]}", file=sys.stderr)
        return 2
    except PollError as error:
        print(f"explain: {error.reason}: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(text)
    return 0


def _remedy(engine: Engine, arguments: argparse.Namespace) -> str:
    """Return the remedy for an unknown source, kind or id."""
    poller = engine.pollers.get(arguments.source)
    kind = arguments.kind
    if poller is None:
        return hint(arguments.source, engine.pollers)
    kinds = PROVIDERS[poller.source.settings.provider].kinds
    if kind not in kinds:
        return hint(kind, kinds)
    # The table of `status` has no rows for runs.
    listing = "status" if kind in LISTED else "status --format=json"
    return f"; give the id, as `{listing}` lists it"


async def _explain(settings: Settings, arguments: argparse.Namespace) -> str:
    async with connected(settings) as engine:
        try:
            explanation = await engine.explain(arguments.source, arguments.kind, arguments.id)
        except LookupError as error:
            remedy = _remedy(engine, arguments)
            raise LookupError(f"{error.args[0]}{remedy}") from error
        finally:
            warn_of_own_ledger("explain", engine)
        engine.pollers[arguments.source].show(explanation.reading, *explanation.more)
    page = engine.exposition.metrics(
        names=[family.name for family in FAMILIES], sources=[arguments.source]
    )
    return explained(explanation, page.body)


def _ask(arguments: argparse.Namespace) -> int:
    """Request the poll from a daemon, under its lock-out guard, and print the result."""
    if wrong := remote.beside_url(arguments):
        print(f"explain: {wrong}", file=sys.stderr)
        return 2
    try:
        text = asyncio.run(_probe(arguments))
    except remote.NotAskedError as error:
        # With the daemon's own reason the mistake is in the arguments, otherwise in the URL.
        if error.sentence and error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            listing = f"`status --url={arguments.url}` lists sources, kinds and ids"
            print(f"explain: {error.sentence}; {listing}", file=sys.stderr)
            return 2
        print(f"explain: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(text)
    return 0


async def _probe(arguments: argparse.Namespace) -> str:
    asked = {name: getattr(arguments, name) for name in ("source", "kind", "id")}
    reply = await remote.get(
        arguments.url,
        f"/probe?{urlencode(asked | {'debug': 'true'})}",
        accept="text/plain",
        timeout_seconds=URL_TIMEOUT_SECONDS,
    )
    text = reply.body.decode(errors="replace")
    if not text.startswith("reply:"):
        raise remote.not_a_daemon(arguments.url)
    return text
