"""The newest samples, and of them only those that the conditions of the alerts read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from exporter.metrics.mapping import samples


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from prometheus_client import CollectorRegistry

    from exporter.fleet.store import Snapshot


#: The labels of a series or an alert, sorted by name, without empty ones.
Labels = tuple[tuple[str, str], ...]

#: The labels of a series and its newest value.
Sample = tuple[Mapping[str, str], float]

#: The newest samples by metric name.
SampleView = Mapping[str, Sequence[Sample]]


def identity(labels: Mapping[str, str]) -> Labels:
    """Return labels in a form that can be compared and hashed."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def metrics(readers: Iterable[object]) -> frozenset[str]:
    """Return the names of all metrics that some rules or conditions read."""
    return frozenset(name for each in readers for name in _metrics(each))


def view(
    snapshots: Iterable[Snapshot], registry: CollectorRegistry, names: Collection[str]
) -> SampleView:
    """Return the newest samples of some metrics, vendors' and our own."""
    found: dict[str, list[Sample]] = {}
    for snapshot in snapshots:
        common = {"provider": snapshot.provider, "source": snapshot.source, **snapshot.labels}
        for reading in snapshot.readings:
            for family, values, value in samples(reading):
                if family.name in names:
                    own = dict(zip(family.labels, values, strict=True))
                    found.setdefault(family.name, []).append(({**common, **own}, value))
    for metric in registry.restricted_registry(names).collect():
        for name, labels, value, *_ in metric.samples:
            if name in names:
                found.setdefault(name, []).append((labels, value))
    return found


class Partners:
    """Finds the series about the same target as another one's labels.

    Attributes:
        samples: The newest samples.
    """

    def __init__(self, samples: SampleView) -> None:
        self.samples = samples
        self._found: dict[tuple[str, tuple[str, ...]], dict[tuple[str, ...], list[Sample]]] = {}

    def of(self, metric: str, on: tuple[str, ...], labels: Mapping[str, str]) -> Sequence[Sample]:
        """Return the series of a metric that have the labels `on` in common with some labels."""
        index = self._found.get((metric, on))
        if index is None:
            index = self._found[metric, on] = {}
            for sample in self.samples.get(metric, ()):
                index.setdefault(key(sample[0], on), []).append(sample)
        return index.get(key(labels, on), ())


def key(labels: Mapping[str, str], on: Iterable[str]) -> tuple[str, ...]:
    """Return the values of some labels; one that is missing is empty."""
    return tuple(labels.get(name, "") for name in on)


def _metrics(node: object) -> Iterator[str]:
    if isinstance(node, msgspec.Struct):
        for name in node.__struct_fields__:
            value = getattr(node, name)
            if name == "metric":
                yield value
            else:
                yield from _metrics(value)
    elif isinstance(node, tuple):
        for each in node:
            yield from _metrics(each)
