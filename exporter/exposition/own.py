"""The exporter's own metrics at the end of the page, whole or filtered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client import Metric


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from prometheus_client.samples import Sample


class Collector(Protocol):
    """Whatever yields metric families."""

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        ...


class Filtered:
    """Own metrics, restricted to names or sources.

    A name selects a family or one of its samples: `x` and `x_total` for a counter, `x` or
    `x_bucket` for a histogram. A source selects by the `source` label; what has none, such as
    the process's own figures, stays.
    """

    def __init__(
        self, collector: Collector, *, names: Collection[str], sources: Collection[str]
    ) -> None:
        self._collector = collector
        self._names = names
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Yield what is left of the families."""
        for metric in self._collector.collect():
            whole = not self._names or metric.name in self._names
            samples = [
                sample
                for sample in metric.samples
                if (whole or sample.name in self._names) and self._has_source(sample)
            ]
            if samples:
                left = Metric(metric.name, metric.documentation, metric.type, metric.unit)
                left.samples = samples
                yield left

    def _has_source(self, sample: Sample) -> bool:
        source = sample.labels.get("source")
        return not self._sources or source is None or source in self._sources
