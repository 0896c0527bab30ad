"""`status`: one round of polls, as a table for people or as data for scripts."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from exporter import flags
from exporter.commands.configuration import load_settings
from exporter.engine import Engine
from exporter.logging import configure_for
from exporter.terminal import report
from exporter.views import source_view
from exporter.web.api import plain
from exporter.web.board import arranged, target_rows
from exporter.web.fleet import headline, source_row
from exporter.web.rows import Condition


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from exporter.settings import Settings
    from exporter.web.fleet import SourceRow
    from exporter.web.rows import TargetRow


SUMMARY = "poll once and print how the fleet is; exit 1 if anything active or a source is down"

FORMATS = ("table", "json", "prom")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that name a configuration, and the form of the answer."""
    for flag in flags.COMMON:
        flag.add_to(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default="table", help="table for people, json, or prom"
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Poll everything once and tell."""
    settings = load_settings(arguments, environ).settings
    configure_for(settings, level="warn")
    return asyncio.run(_status(settings, arguments.format, environ))


async def _status(settings: Settings, form: str, environ: Mapping[str, str]) -> int:
    engine = Engine()
    engine.connect(settings)
    try:
        await engine.round()
    finally:
        await engine.end(grace_seconds=0)
    now = engine.clock.now()
    sources = [source_row(source_view(poller), now) for poller in engine.pollers.values()]
    rows = arranged(target_rows(engine.store.snapshots(), now))
    if form == "prom":
        page = engine.exposition.metrics(accept="", accept_encoding="", names=(), sources=())
        sys.stdout.write(page.body.decode())
    elif form == "json":
        data = {"sources": sources, "targets": rows}
        sys.stdout.write(msgspec.json.encode(plain(data)).decode() + "\n")
    else:
        colour = sys.stdout.isatty() and not environ.get("NO_COLOR") and os.name == "posix"
        answer = headline(rows, sources, ready=True)
        sys.stdout.write(report(answer, sources, rows, colour=colour))
    return 0 if _well(rows, sources) else 1


def _well(rows: Sequence[TargetRow], sources: Sequence[SourceRow]) -> bool:
    """Tell whether nothing active and no source is down."""
    states = [*(row.state for row in rows), *(source.state for source in sources)]
    return Condition.DOWN not in states
