"""Tables of the metrics: about the fleet from `catalogue`, the exporter's own from `own`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.reference.markdown import code, table
from exporter.metrics.catalogue import PREFIX, with_former_names
from exporter.metrics.own import OWN_FAMILIES
from exporter.sources.registry import FAMILIES


if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.metrics.catalogue import Family
    from exporter.metrics.own import OwnFamily


def table_of_families(*parts: str, families: Sequence[Family] = FAMILIES) -> str:
    """Return a table of families about the fleet, without their common labels.

    Args:
        parts: Beginnings of the listed families' names, without the common prefix.
        families: All families.
    """
    prefixes = tuple(PREFIX + part for part in parts)
    listed = [family for family in families if family.name.startswith(prefixes)]
    return table(
        ("Metric", "Labels", "Meaning"),
        (
            (code(family.name), _labels(family.labels), family.help)
            for family in with_former_names(listed)
        ),
    )


def table_of_own(families: Sequence[OwnFamily[Any]] = OWN_FAMILIES) -> str:
    """Return a table of the exporter's own metrics."""
    return table(
        ("Metric", "Type", "Labels", "Meaning"),
        (
            (code(family.name), family.kind, _labels(family.labels), family.help)
            for family in with_former_names(families)
        ),
    )


def _labels(labels: Sequence[str]) -> str:
    return ", ".join(map(code, labels))
