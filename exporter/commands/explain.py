"""`explain`: one target, from the vendor's reply to the samples."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import yaml

from exporter import flags
from exporter.commands.configuration import configure_logging, load_settings
from exporter.engine import Engine
from exporter.errors import PollError
from exporter.samples import samples
from exporter.sources.registry import PROVIDERS
from exporter.web.api import plain


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from exporter.settings import Settings
    from exporter.sources.base import Explanation


SUMMARY = "look at one target now: the reply, what was read from it, the samples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that name a configuration, and the target."""
    for flag in flags.COMMON:
        flag.add_to(parser)
    kinds = sorted({kind for provider in PROVIDERS.values() for kind in provider.kinds})
    parser.add_argument("source", metavar="SOURCE", help="the source's name")
    parser.add_argument("kind", metavar="KIND", help=f"one of: {', '.join(kinds)}")
    parser.add_argument("id", metavar="ID", help="the target's id, as in the labels")


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Look once and print."""
    settings = load_settings(arguments, environ).settings
    configure_logging(settings)
    try:
        explanation = asyncio.run(_look(settings, arguments))
    except LookupError as error:
        print(f"explain: {error.args[0]}", file=sys.stderr)
        return 2
    except PollError as error:
        print(f"explain: {error.reason}: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(_written(explanation))
    return 0


async def _look(settings: Settings, arguments: argparse.Namespace) -> Explanation:
    engine = Engine()
    engine.connect(settings)
    try:
        poller = engine.pollers.get(arguments.source)
        if poller is None:
            known = ", ".join(engine.pollers)
            raise LookupError(f"there is no source {arguments.source!r}; there is: {known}")
        return await poller.source.explain(arguments.kind, arguments.id)
    finally:
        await engine.end(grace_seconds=0)


def _written(explanation: Explanation) -> str:
    document = {
        "reply": plain(explanation.reply),
        "reading": plain(explanation.reading),
        "samples": [
            f"{sample.family.name}{dict(zip(sample.family.labels, sample.labels, strict=True))}"
            f" {sample.value}"
            for sample in samples(explanation.reading)
        ],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
