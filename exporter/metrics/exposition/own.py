"""The exporter's own metrics at the end of the page, whole or filtered.

prometheus-client collects them; their names and labels, which stay, are written once, since that is
most of what its own writer does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
from prometheus_client import Metric

from exporter.metrics.exposition import numbers
from exporter.metrics.exposition.body import Packed
from exporter.metrics.exposition.labels import block


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from prometheus_client.samples import Sample

    from exporter.metrics.exposition.body import Format
    from exporter.metrics.telemetry import SelfMetrics


#: Under an unchanged page own metrics may be as old as this: to collect them takes a thousand times
#: as long as to serve the rest of the page.
OWN_SECONDS = 1.0


class Collector(Protocol):
    """Whatever returns metric families."""

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        ...


class Own:
    """Writes own metrics; their samples carry no time stamps and no exemplars."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._heads: dict[tuple[Format, str], str] = {}
        self._prefixes: dict[tuple[str, ...], str] = {}

    def text(
        self,
        form: Format,
        *,
        names: Collection[str] = (),
        sources: Collection[str] = (),
    ) -> bytes:
        """Write the metrics and the end of the page.

        Args:
            form: The format.
            names: What to keep, all if empty: whole families (`x` for a counter `x_total`), or
                samples such as `x_bucket`.
            sources: Which values of the `source` label to keep, all if empty. What has no such
                label, for instance the process's own figures, stays.
        """
        prefixes = []
        values = []
        pending = ""
        for metric in self._collector.collect():
            samples = _kept(metric, names, sources)
            if samples or not (names or sources):
                pending += self._head(form, metric)
            for sample in samples:
                prefixes.append(pending + self._prefix(sample))
                values.append(float(sample.value))
                pending = ""
        written = numbers.texts(values, numbers.encode(values))
        lines = [
            f"{prefix}{text or 'NaN'}\n" for prefix, text in zip(prefixes, written, strict=True)
        ]
        if len(self._prefixes) > 2 * len(prefixes) and not (names or sources):
            # Most of them belong to sources that are gone.
            self._prefixes.clear()
        return "".join((*lines, pending, form.end)).encode()

    def _head(self, form: Format, metric: Metric) -> str:
        key = (form, metric.name)
        if key not in self._heads:
            empty = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            self._heads[key] = form.head(empty).decode()
        return self._heads[key]

    def _prefix(self, sample: Sample) -> str:
        key = (sample.name, *sample.labels.values())
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = self._prefixes[key] = sample.name + block(sample.labels)
        return prefix


def _kept(metric: Metric, names: Collection[str], sources: Collection[str]) -> list[Sample]:
    samples = metric.samples
    if names and metric.name not in names:
        samples = [sample for sample in samples if sample.name in names]
    if sources:
        samples = [sample for sample in samples if sample.labels.get("source") in (None, *sources)]
    return samples


class _Written(msgspec.Struct, kw_only=True):
    """The end of a page.

    Attributes:
        at: When it was written, on the monotonic clock.
        packed: The same, packed, with what it is the end of.
    """

    text: bytes
    at: float
    packed: tuple[Packed, bytes] | None = None


class Ends:
    """The ends of whole pages."""

    def __init__(self, own: Own, telemetry: SelfMetrics) -> None:
        self._own = own
        self._telemetry = telemetry
        self._written: dict[Format, _Written] = {}

    def plain(self, form: Format) -> bytes:
        """Return it as it is."""
        return self._newest(form).text

    def packed(self, form: Format, beginning: Packed) -> bytes:
        """Return what makes a whole gzip member of its beginning."""
        newest = self._newest(form)
        if newest.packed is None or newest.packed[0] is not beginning:
            newest.packed = (beginning, beginning.end(newest.text))
        return newest.packed[1]

    def _newest(self, form: Format) -> _Written:
        now = self._telemetry.clock.monotonic()
        known = self._written.get(form)
        if known is None or now - known.at >= OWN_SECONDS:
            known = _Written(text=self._own.text(form), at=now)
            self._written[form] = known
        return known
