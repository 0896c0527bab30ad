"""`explain`: one target, from the vendor's reply to the samples."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from exporter.commands.configuration import load_settings
from exporter.errors import PollError
from exporter.fleet.kinds import EXPLAINED, LISTED
from exporter.metrics.catalogue import FAMILIES
from exporter.polling.engine import Engine, connected
from exporter.settings import flags
from exporter.settings.load import configure_for
from exporter.sources.registry import PROVIDERS
from exporter.web.endpoints.probe import explained


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from exporter.settings.load import Settings


SUMMARY = "ask about one target now: the reply, what was read from it, the samples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that name a configuration, and the target."""
    for flag in flags.COMMON:
        flag.add_to(parser)
    parser.add_argument("source", metavar="SOURCE", help="the source's name")
    parser.add_argument("kind", metavar="KIND", help=f"one of: {', '.join(sorted(EXPLAINED))}")
    parser.add_argument("id", metavar="ID", help="the target's id, as in the labels")


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask once and print."""
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
    """Return what to do about an id that is not known; source and kind name what there is."""
    poller = engine.pollers.get(arguments.source)
    kind = arguments.kind
    if poller is None or kind not in PROVIDERS[poller.source.settings.provider].kinds:
        return ""
    # The table has no rows of runs.
    listing = "status" if kind in LISTED else "status --format=json"
    return f"; give the id, as `{listing}` lists it"


async def _explain(settings: Settings, arguments: argparse.Namespace) -> str:
    async with connected(settings) as engine:
        try:
            explanation = await engine.explain(arguments.source, arguments.kind, arguments.id)
        except LookupError as error:
            remedy = _remedy(engine, arguments)
            raise LookupError(f"{error.args[0]}{remedy}") from error
        engine.pollers[arguments.source].show(explanation.reading)
    page = engine.exposition.metrics(
        names=[family.name for family in FAMILIES], sources=[arguments.source]
    )
    return explained(explanation, page.body)
