"""The exporter's own metrics at the end of the page, all or filtered.

prometheus-client collects them. Their names and labels do not change, so they are rendered only
once: prometheus-client's own writer spends most of its time on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Metric

from exporter.metrics.catalogue import with_former_names
from exporter.metrics.exposition.body import head
from exporter.metrics.exposition.notation import encode_numbers, label_block, number_texts


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from prometheus_client.samples import Sample

    from exporter.metrics.exposition.body import Format
    from exporter.metrics.telemetry import SelfMetrics


class OwnWriter:
    """Writes own metrics, whose samples have no time stamps and no exemplars."""

    def __init__(self, telemetry: SelfMetrics) -> None:
        self._registry = telemetry.registry
        self._former = {
            family.base: tuple(with_former_names([family]))[1:] for family in telemetry.families
        }
        self._prefixes: dict[tuple[str, ...], str] = {}

    def text(
        self,
        form: Format,
        *,
        names: Collection[str] = (),
        sources: Collection[str] = (),
    ) -> bytes:
        """Return the metrics and the end of the page.

        Args:
            form: The format.
            names: The families (`x` for a counter `x_total`) or samples (such as `x_bucket`) to
                keep; all if empty.
            sources: The values of the `source` label to keep; all if empty. Samples without this
                label, for instance those about the process, are always kept.
        """
        prefixes = []
        values = []
        pending = ""
        for metric in self._metrics():
            samples = _kept(metric, names, sources)
            if samples or not (names or sources):
                description = (metric.name, metric.documentation, metric.type, metric.unit)
                pending += head(form, *description).decode()
            for sample in samples:
                prefixes.append(pending + self._prefix(sample))
                values.append(float(sample.value))
                pending = ""
        numbers = number_texts(values, encode_numbers(values))
        lines = [
            f"{prefix}{text or 'NaN'}\n" for prefix, text in zip(prefixes, numbers, strict=True)
        ]
        if len(self._prefixes) > 2 * len(prefixes) and not (names or sources):
            # Most of the prefixes belong to removed sources.
            self._prefixes.clear()
        return "".join((*lines, pending, form.end)).encode()

    def _metrics(self) -> Iterator[Metric]:
        """Yield the metrics; renamed ones also under their former names."""
        for metric in self._registry.collect():
            yield metric
            for family in self._former.get(metric.name, ()):
                renamed = Metric(family.base, family.help, metric.type, metric.unit)
                renamed.samples = [
                    sample._replace(name=renamed.name + sample.name.removeprefix(metric.name))
                    for sample in metric.samples
                ]
                yield renamed

    def _prefix(self, sample: Sample) -> str:
        key = (sample.name, *sample.labels.values())
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = self._prefixes[key] = sample.name + label_block(sample.labels)
        return prefix


def _kept(metric: Metric, names: Collection[str], sources: Collection[str]) -> list[Sample]:
    samples = metric.samples
    if names and metric.name not in names:
        samples = [sample for sample in samples if sample.name in names]
    if sources:
        samples = [sample for sample in samples if sample.labels.get("source") in (None, *sources)]
    return samples
