"""The newest samples, column by column, and only of the metrics that a condition reads.

With 10,000 agents a metric has 10,000 samples, of which a condition keeps few. So the label names
are stored once for all series and the label values in a row per series, and samples are taken from
the readings only when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from exporter.metrics.mapping import MAPPINGS


if TYPE_CHECKING:
    from collections.abc import Collection

    from prometheus_client import CollectorRegistry

    from exporter.fleet.store import Snapshot
    from exporter.metrics.columns import Column, TargetMapping


#: The labels of a series or an alert, sorted by name, without empty ones.
Labels = tuple[tuple[str, str], ...]

#: The labels of a series and its newest value.
Sample = tuple[Mapping[str, str], float]

#: The values of a series' labels.
Row = tuple[str, ...]


class Series(NamedTuple):
    """Series whose labels have the same names.

    Attributes:
        names: The names of the labels.
        rows: The values of the labels, a row for each series; an empty value means no label.
        values: The newest value of each series.
    """

    names: Row
    rows: Sequence[Row]
    values: Sequence[float]

    def sample(self, place: int) -> Sample:
        """Return the labels and the value of the series at an index."""
        return dict(zip(self.names, self.rows[place], strict=True)), self.values[place]

    def samples(self) -> Iterator[Sample]:
        """Yield the labels and the value of each series."""
        return map(self.sample, range(len(self.rows)))

    def keys(self, on: Sequence[str]) -> Iterator[Row]:
        """Yield the values of some labels of each series; a missing label counts as empty."""
        names = self.names
        if on and all(name in names for name in on):
            found = map(itemgetter(*map(names.index, on)), self.rows)
            return found if len(on) > 1 else zip(found, strict=True)
        places = [names.index(name) if name in names else None for name in on]
        return (
            tuple(["" if place is None else row[place] for place in places]) for row in self.rows
        )

    def places(self, on: Sequence[str]) -> Mapping[Row, Sequence[int]]:
        """Return the indexes of the series by the values of some labels."""
        keys = list(self.keys(on))
        alone = dict(zip(keys, zip(range(len(keys)), strict=True), strict=True))
        if len(alone) == len(keys):
            return alone
        found: dict[Row, list[int]] = {}
        for place, each in enumerate(keys):
            found.setdefault(each, []).append(place)
        return found

    def identities(self) -> Iterator[Labels]:
        """Yield the labels of each series in a form that can be compared and hashed."""
        places = sorted((name, place) for place, name in enumerate(self.names))
        return (
            tuple([(name, row[place]) for name, place in places if row[place]]) for row in self.rows
        )

    def kept(self, wanted: Iterable[object]) -> Series:
        """Return the wanted series.

        Args:
            wanted: A truth value for each series.
        """
        found = [
            (row, value)
            for row, value, is_wanted in zip(self.rows, self.values, wanted, strict=True)
            if is_wanted
        ]
        return Series(self.names, [row for row, _ in found], [value for _, value in found])


#: Series with their newest values, grouped by the names of their labels.
Vector = Sequence[Series]


class SampleView:
    """The newest samples by metric; those of a metric are made when first read.

    Args:
        makers: Functions that return a metric's series, by the metric's name.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Vector]]) -> None:
        self._makers = makers
        self._made: dict[str, Vector] = {}

    def of(self, metric: str) -> Vector:
        """Return the series of a metric, none for an unknown metric."""
        if metric not in self._made:
            maker = self._makers.get(metric)
            self._made[metric] = maker() if maker is not None else ()
        return self._made[metric]

    def extended(self, metric: str, maker: Callable[[], Vector]) -> SampleView:
        """Return a view with an additional metric."""
        known = {each: partial(self.of, each) for each in self._makers}
        return SampleView(known | {metric: maker})


def identity(labels: Mapping[str, str]) -> Labels:
    """Return labels in a form that can be compared and hashed."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def metrics(readers: Iterable[object]) -> frozenset[str]:
    """Return the names of all metrics that some rules or conditions read."""
    return frozenset(name for each in readers for name in _metrics(each))


def vector(samples: Iterable[Sample]) -> Vector:
    """Return samples as series, grouped by the names of their labels."""
    found: dict[Row, tuple[list[Row], list[float]]] = {}
    for labels, value in samples:
        rows, values = found.setdefault(tuple(labels), ([], []))
        rows.append(tuple(labels.values()))
        values.append(value)
    return [Series(names, *columns) for names, columns in found.items()]


def view(
    snapshots: Iterable[Snapshot], registry: CollectorRegistry, names: Collection[str]
) -> SampleView:
    """Return the newest samples of some metrics.

    Args:
        snapshots: The readings of all sources.
        registry: The exporter's own metrics.
        names: The metrics to select.
    """
    found: dict[str, list[Callable[[], Vector]]] = {}
    for snapshot in snapshots:
        for targets in _targets(snapshot):
            for part, columns in targets.mapping.parts:
                for column in columns:
                    if column.family.name in names:
                        read = partial(targets.series, part, column)
                        found.setdefault(column.family.name, []).append(read)
    own: dict[str, list[Sample]] = {}
    for metric in registry.restricted_registry(names).collect():
        for name, labels, value, *_ in metric.samples:
            if name in names:
                own.setdefault(name, []).append((labels, value))
    for name, samples in own.items():
        found.setdefault(name, []).append(partial(vector, samples))
    return SampleView({name: partial(_joined, makers) for name, makers in found.items()})


class _Targets:
    """The targets in the readings of one type, for one mapping."""

    def __init__(
        self, mapping: TargetMapping, readings: Sequence[Any], common: Mapping[str, str]
    ) -> None:
        self.mapping = mapping
        self._readings = readings
        # The settings refuse labels of a source that a family has, too.
        self._common = common

    @cached_property
    def _found(self) -> list[Any]:
        return list(chain.from_iterable(map(self.mapping.targets, self._readings)))

    @cached_property
    def _rows(self) -> list[Row]:
        """The label values of each target, after those common to all targets."""
        common = tuple(self._common.values())
        return [(*common, *each) for each in map(self.mapping.identity, self._found)]

    def series(self, part: Callable[[Any], Any], column: Column) -> Vector:
        """Return the series of a column; a value that is absent or NaN has none."""
        names = (*self._common, *column.family.labels)
        found = map(column.read, map(part, self._found))
        pairs: Iterable[tuple[Row, Any]]
        if column.spread is None:
            pairs = zip(self._rows, found, strict=True)
        else:
            pairs = (
                ((*row, *more), value)
                for row, labelled in zip(self._rows, map(column.spread, found), strict=True)
                for more, value in labelled
            )
        # Only NaN differs from itself.
        known = [(row, float(v)) for row, v in pairs if v is not None and v == v]  # noqa: PLR0124
        return (Series(names, [row for row, _ in known], [value for _, value in known]),)


def _targets(snapshot: Snapshot) -> Iterator[_Targets]:
    common = {"provider": snapshot.provider, "source": snapshot.source, **snapshot.labels}
    by_type: dict[type[Any], list[Any]] = {}
    for reading in snapshot.readings:
        by_type.setdefault(type(reading), []).append(reading)
    for kind, readings in by_type.items():
        for mapping in MAPPINGS[kind]:
            yield _Targets(mapping, readings, common)


def _joined(makers: Iterable[Callable[[], Vector]]) -> Vector:
    return [series for maker in makers for series in maker() if series.rows]


class Partners:
    """Finds the series that have some labels in common with an alert."""

    def __init__(self, samples: SampleView) -> None:
        self._samples = samples
        self._found: dict[tuple[str, Row], list[tuple[Series, Mapping[Row, Sequence[int]]]]] = {}

    def of(self, metric: str, on: Row, labels: Mapping[str, str]) -> list[Sample]:
        """Return the series of a metric whose labels `on` have the same values as in `labels`."""
        index = self._found.get((metric, on))
        if index is None:
            index = [(series, series.places(on)) for series in self._samples.of(metric)]
            self._found[metric, on] = index
        wanted = key(labels, on)
        return [
            series.sample(place) for series, places in index for place in places.get(wanted, ())
        ]


def key(labels: Mapping[str, str], on: Iterable[str]) -> Row:
    """Return the values of some labels; a missing label counts as empty."""
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
