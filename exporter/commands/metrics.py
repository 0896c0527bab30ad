"""`metrics`: prints every metric family about the fleet, from the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.metrics.catalogue import COMMON_LABELS, with_former_names
from exporter.sources.registry import FAMILIES


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no flags."""
    del parser


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print a line for each family, with labels and meaning.

    Returns:
        The exit code, 0.
    """
    del arguments, environ
    for family in with_former_names(FAMILIES):
        labels = ", ".join((*COMMON_LABELS, *family.labels))
        print(f"{family.name}{{{labels}}}  {family.help}")
    return 0
