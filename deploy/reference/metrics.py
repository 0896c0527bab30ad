"""The metrics: the fleet's from the catalogue, the exporter's own from their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.reference.markdown import code, table
from exporter.metrics.catalogue import FAMILIES, PREFIX
from exporter.metrics.own import OWN_FAMILIES


if TYPE_CHECKING:
    from collections.abc import Iterable


def table_of_families(*parts: str) -> str:
    """List the fleet's families whose names, after the common prefix, begin with one of the parts.

    Their common labels are left out.
    """
    prefixes = tuple(PREFIX + part for part in parts)
    return table(
        ("Metric", "Labels", "Meaning"),
        (
            (code(family.name), _labels(family.labels), family.help)
            for family in FAMILIES
            if family.name.startswith(prefixes)
        ),
    )


def table_of_own() -> str:
    """List the exporter's own metrics."""
    return table(
        ("Metric", "Type", "Labels", "Meaning"),
        (
            (code(family.name), family.kind, _labels(family.labels), family.help)
            for family in OWN_FAMILIES
        ),
    )


def _labels(labels: Iterable[str]) -> str:
    return ", ".join(map(code, labels))
