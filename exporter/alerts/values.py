"""Evaluates conditions over the newest samples in memory.

The semantics are those of PromQL, in which an empty label is a missing one. Unlike in PromQL the
metric's name is no label.
"""

from __future__ import annotations

import math
import operator
from functools import cache, partial, reduce
from typing import TYPE_CHECKING

from exporter.alerts import expression as e
from exporter.alerts.samples import Labels, identity, vector


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from exporter.alerts.samples import Row, SampleView, Series, Vector


#: The functions of PromQL's comparisons.
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_AGGREGATE: dict[e.Aggregation, Callable[[list[float]], float]] = {
    "max": lambda values: _furthest(max, values),
    "min": lambda values: _furthest(min, values),
    # Not `fsum`, which raises on infinities of both signs, nor `sum`, which loses the sign of -0.
    "sum": lambda values: reduce(operator.add, values),
    "count": lambda values: float(len(values)),
}


def evaluated(expression: e.Expression, samples: SampleView, now: float) -> dict[Labels, float]:
    """Return the values that Prometheus would compute from the samples, by the labels.

    Args:
        expression: The condition.
        samples: The newest samples.
        now: The time of the evaluation in Unix seconds.

    Raises:
        ValueError: A series matches several others, which Prometheus would refuse, too.
        NotImplementedError: Only Prometheus can evaluate the expression.
    """
    return _by_identity(evaluate(expression, samples, now))


def evaluate(  # noqa: C901, PLR0911, PLR0912 - a case per node
    node: e.Expression, samples: SampleView, now: float
) -> Vector:
    """Return the series that a node selects, with their values.

    Raises:
        ValueError: A series matches several others, which Prometheus would refuse, too.
        NotImplementedError: Only Prometheus can evaluate the node.
    """
    match node:
        case e.Select(metric=metric, matches=matches):
            return _matching(samples.of(metric), matches)
        case e.Always():
            return vector([({}, 1.0)])
        case e.Absent(of=series):
            return [] if evaluate(series, samples, now) else vector([({}, 1.0)])
        case e.Abs(of=of):
            return _changed(evaluate(of, samples, now), abs)
        case e.Age(of=of):
            return _changed(evaluate(of, samples, now), lambda value: now - value)
        case e.Remaining(of=of):
            return _changed(evaluate(of, samples, now), lambda value: value - now)
        case e.Times(of=of, factor=factor):
            return _changed(evaluate(of, samples, now), lambda value: value * factor)
        case e.Raised(of=of, addend=addend):
            return _changed(evaluate(of, samples, now), lambda value: value + addend)
        case e.Merged(of=of, by="max" | "min" | "sum", labels=()):
            # No two series of one process have the same labels, so nothing is aggregated.
            return evaluate(of, samples, now)
        case e.Merged(of=of, by=by, labels=without):
            return _merged(evaluate(of, samples, now), without, _AGGREGATE[by])
        case e.Ratio(left=left, right=right):
            divisors = _by_identity(evaluate(right, samples, now))
            return vector(
                (labels, _divided(value, divisors[key]))
                for series in evaluate(left, samples, now)
                for key, (labels, value) in zip(series.identities(), series.samples(), strict=True)
                if key in divisors
            )
        case e.Plus(left=left, right=right, on=on):
            kept = evaluate(left, samples, now)
            partners = [
                pair
                for series in (evaluate(right, samples, now) if kept else ())
                for pair in zip(series.keys(on), series.values, strict=True)
            ]
            addends = dict(partners)
            if len(addends) < len(partners):
                raise ValueError(f"several series have the same {', '.join(on)}")
            return vector(
                (labels, value + addends[key])
                for series in kept
                for key, (labels, value) in zip(series.keys(on), series.samples(), strict=True)
                if key in addends
            )
        case e.Compare(left=left, comparison=comparison, right=bound):
            holds = COMPARE[comparison]
            kept = evaluate(left, samples, now)
            if not isinstance(bound, e.Expression):
                return _kept(kept, lambda series: [holds(value, bound) for value in series.values])
            bounds = _by_identity(evaluate(bound, samples, now))
            # A comparison with NaN is false, as is one with a missing series.
            return _kept(
                kept,
                lambda series: [
                    holds(value, bounds.get(key, math.nan))
                    for key, value in zip(series.identities(), series.values, strict=True)
                ],
            )
        case e.Where(left=left, operation=operation, right=right, on=on):
            kept = evaluate(left, samples, now)
            if not kept:
                return kept
            known = keys(evaluate(right, samples, now), on)
            wanted = operation == "and"
            return _kept(kept, lambda series: [(key in known) == wanted for key in series.keys(on)])
        case e.Either(left=left, right=right):
            ours = evaluate(left, samples, now)
            taken = _by_identity(ours)
            added = evaluate(right, samples, now)
            return [
                *ours,
                *_kept(added, lambda series: [each not in taken for each in series.identities()]),
            ]
    raise NotImplementedError


def keys(found: Vector, on: Sequence[str]) -> set[Row]:
    """Return the values of some labels of all series."""
    return {key for series in found for key in series.keys(on)}


def _by_identity(found: Vector) -> dict[Labels, float]:
    return {
        key: value
        for series in found
        for key, value in zip(series.identities(), series.values, strict=True)
    }


def _kept(found: Vector, wanted: Callable[[Series], Iterable[bool]]) -> Vector:
    """Return the wanted rows of each `Series`, without those that have none."""
    kept = (series.kept(wanted(series)) for series in found)
    return [series for series in kept if series.rows]


def _changed(found: Vector, change: Callable[[float], float]) -> Vector:
    return [series._replace(values=list(map(change, series.values))) for series in found]


def _matching(found: Vector, matches: Iterable[e.Match]) -> Vector:
    for match in matches:
        found = _kept(found, partial(_holding, match))
    return found


def _holding(match: e.Match, series: Series) -> Iterator[bool]:
    # Most series of a metric share the few values of a label that conditions select by.
    holds = cache(match.holds)
    return (holds(text) for (text,) in series.keys((match.label,)))


def _merged(
    found: Vector, without: Collection[str], aggregate: Callable[[list[float]], float]
) -> Vector:
    groups: dict[Labels, list[float]] = {}
    for series in found:
        names = [name for name in series.names if name not in without]
        parts: dict[Row, list[float]] = {}
        for key, value in zip(series.keys(names), series.values, strict=True):
            parts.setdefault(key, []).append(value)
        for key, values in parts.items():
            group = identity(dict(zip(names, key, strict=True)))
            groups.setdefault(group, []).extend(values)
    return vector((dict(group), aggregate(values)) for group, values in groups.items())


def _divided(value: float, divisor: float) -> float:
    if divisor:
        return value / divisor
    if not value or math.isnan(value):
        return math.nan
    return math.copysign(math.inf, value) * math.copysign(1.0, divisor)


def _furthest(choose: Callable[[list[float]], float], values: list[float]) -> float:
    return choose([value for value in values if not math.isnan(value)] or values)
