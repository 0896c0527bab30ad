"""The values of conditions over the newest samples in memory.

The semantics are PromQL's, an empty label being none; only the metric's name is no label here.
"""

from __future__ import annotations

import math
import operator
from functools import reduce
from typing import TYPE_CHECKING

from exporter.alerts import expression as e
from exporter.alerts.samples import Labels, Sample, SampleView, identity, key


if TYPE_CHECKING:
    from collections.abc import Callable


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
    # Not fsum, which refuses what is infinite both ways, nor sum, which loses the sign of zero.
    "sum": lambda values: reduce(operator.add, values),
    "count": lambda values: float(len(values)),
}


def evaluated(expression: e.Expression, samples: SampleView, now: float) -> dict[Labels, float]:
    """Return what Prometheus would, had it scraped the samples at `now`, in Unix seconds.

    Raises:
        ValueError: Prometheus would refuse it: a series has several partners.
        NotImplementedError: Only Prometheus can judge it.
    """
    return {identity(labels): value for labels, value in _vector(expression, samples, now)}


def _vector(  # noqa: C901, PLR0911, PLR0912 - a case per node
    node: e.Expression, samples: SampleView, now: float
) -> list[Sample]:
    """Return the series that a node selects, with their values."""
    match node:
        case e.Select(metric=metric, matches=matches):
            series = samples.get(metric, ())
            if not matches:
                return list(series)
            return [one for one in series if all(match.holds(one[0]) for match in matches)]
        case e.Always():
            return [({}, 1.0)]
        case e.Absent(of=series):
            return [] if _vector(series, samples, now) else [({}, 1.0)]
        case e.Abs(of=of):
            return [(labels, abs(value)) for labels, value in _vector(of, samples, now)]
        case e.Age(of=of):
            return [(labels, now - value) for labels, value in _vector(of, samples, now)]
        case e.Remaining(of=of):
            return [(labels, value - now) for labels, value in _vector(of, samples, now)]
        case e.Times(of=of, factor=factor):
            return [(labels, value * factor) for labels, value in _vector(of, samples, now)]
        case e.Merged(of=of, by="max" | "min" | "sum", labels=()):
            # The series of one process differ in more than what tells processes apart.
            return _vector(of, samples, now)
        case e.Merged(of=of, by=by, labels=without):
            groups: dict[Labels, list[float]] = {}
            for labels, value in _vector(of, samples, now):
                rest = {name: text for name, text in labels.items() if name not in without}
                groups.setdefault(identity(rest), []).append(value)
            return [(dict(group), _AGGREGATE[by](values)) for group, values in groups.items()]
        case e.Ratio(left=left, right=right):
            divisors = evaluated(right, samples, now)
            return [
                (labels, _divided(value, divisors[identity(labels)]))
                for labels, value in _vector(left, samples, now)
                if identity(labels) in divisors
            ]
        case e.Plus(left=left, right=right, on=on):
            kept = _vector(left, samples, now)
            partners = _vector(right, samples, now) if kept else []
            addends = {key(labels, on): value for labels, value in partners}
            if len(addends) < len(partners):
                raise ValueError(f"several series have the same {', '.join(on)}")
            return [
                (labels, value + addends[key(labels, on)])
                for labels, value in kept
                if key(labels, on) in addends
            ]
        case e.Compare(left=left, comparison=comparison, right=bound):
            holds = COMPARE[comparison]
            kept = _vector(left, samples, now)
            if not isinstance(bound, e.Expression):
                return [one for one in kept if holds(one[1], bound)]
            bounds = evaluated(bound, samples, now)
            # Nothing compares with what is not a number, as with a series that is missing.
            return [one for one in kept if holds(one[1], bounds.get(identity(one[0]), math.nan))]
        case e.Where(left=left, operation=operation, right=right, on=on):
            kept = _vector(left, samples, now)
            if not kept:
                return kept
            known = {key(labels, on) for labels, _ in _vector(right, samples, now)}
            wanted = operation == "and"
            return [one for one in kept if (key(one[0], on) in known) == wanted]
        case e.Either(left=left, right=right):
            ours = _vector(left, samples, now)
            taken = {identity(labels) for labels, _ in ours}
            added = _vector(right, samples, now)
            return [*ours, *(one for one in added if identity(one[0]) not in taken)]
    raise NotImplementedError


def _divided(value: float, divisor: float) -> float:
    if divisor:
        return value / divisor
    if not value or math.isnan(value):
        return math.nan
    return math.copysign(math.inf, value) * math.copysign(1.0, divisor)


def _furthest(choose: Callable[[list[float]], float], values: list[float]) -> float:
    return choose([value for value in values if not math.isnan(value)] or values)
