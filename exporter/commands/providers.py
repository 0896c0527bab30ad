"""`providers`: prints the available providers and the package of each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from exporter.sources.registry import BROKEN, INSTALLED, PROVIDERS


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no flags."""
    del parser


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print each provider with its kinds of targets and its package.

    Returns:
        The exit code: 0, or 1 if a plug-in cannot be used.
    """
    del arguments, environ
    rows = [
        (name, ", ".join(provider.kinds), _package(name)) for name, provider in PROVIDERS.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    for broken in BROKEN:
        print(f"providers: {broken}", file=sys.stderr)
    return 1 if BROKEN else 0


def _package(name: str) -> str:
    installed = INSTALLED.get(name)
    return "built in" if installed is None else installed.package
