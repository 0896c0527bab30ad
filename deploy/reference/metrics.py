"""The metrics: the fleet's from the catalogue, the exporter's own from its telemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.metrics import MetricWrapperBase

from deploy.reference.markdown import code, table
from exporter.metrics.catalogue import FAMILIES, PREFIX
from exporter.metrics.telemetry import SelfMetrics


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
    # Only their names, labels and texts are used.
    metrics = (
        metric for metric in vars(SelfMetrics()).values() if isinstance(metric, MetricWrapperBase)
    )
    return table(("Metric", "Type", "Labels", "Meaning"), map(_own, metrics))


def _own(metric: MetricWrapperBase) -> tuple[str, str, str, str]:
    (described,) = metric.describe()
    name = described.name + ("_total" if described.type == "counter" else "")
    labels = metric._labelnames  # noqa: SLF001 - the client tells them in no other way
    return code(name), described.type, _labels(labels), described.documentation


def _labels(labels: Iterable[str]) -> str:
    return ", ".join(map(code, labels))
