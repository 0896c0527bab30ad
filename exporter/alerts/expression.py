"""Conditions as trees that are read twice: as PromQL, and over the newest samples in memory.

There are the nodes that the alerts need and no more, and none of them needs history: so the
exporter can judge alone what Prometheus would, and a test can compare the two. The semantics are
PromQL's, an empty label being none; only the metric's name is no label here.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.alerts.samples import Labels, Sample, SampleView, identity


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Gauge

    from exporter.metrics.catalogue import Family
    from exporter.metrics.own import OwnFamily


Comparison = Literal["==", "<", "<=", ">", ">="]
Operation = Literal["and", "unless"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

# How strongly PromQL's operators bind.
_OR, _AND, _COMPARING, _ADDING, _MULTIPLYING, _ATOM = range(6)


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the tree; its methods make larger trees."""

    def promql(self) -> str:
        """Return it as PromQL."""
        return _promql(self)[0]

    def evaluate(self, samples: SampleView, now: float) -> dict[Labels, float]:
        """Return what Prometheus would, had it scraped the samples at `now`, in Unix seconds."""
        return {identity(labels): value for labels, value in _vector(self, samples, now)}

    def compared(self, comparison: Comparison, other: Expression | float) -> Compare:
        """Keep what compares so with a number, or with the series of the same labels."""
        return Compare(left=self, comparison=comparison, right=other)

    def where(self, operation: Operation, other: Expression, *on: str) -> Where:
        """Keep what has (`and`), or has not (`unless`), a partner with the same labels `on`."""
        return Where(left=self, operation=operation, right=other, on=on)

    def either(self, other: Expression) -> Either:
        """Add the other's series whose labels are not among these."""
        return Either(left=self, right=other)

    def times(self, factor: float) -> Times:
        """Multiply by a number."""
        return Times(of=self, factor=factor)

    def plus_one_of(self, other: Expression, *on: str) -> Plus:
        """Add the value of the one series with the same labels `on`."""
        return Plus(left=self, right=other, on=on)

    def divided_by(self, other: Expression) -> Ratio:
        """Divide by the series of the same labels."""
        return Ratio(left=self, right=other)

    def counted(self, *without: str) -> Count:
        """Count the series that differ only in the labels `without`."""
        return Count(of=self, without=without)


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on a label: one of some values, or a regular expression for all of it."""

    label: str
    values: tuple[str, ...] = ()
    pattern: str = ""

    def promql(self) -> str:
        """Return it as a matcher."""
        if len(self.values) == 1:
            return f"{self.label}={_quoted(self.values[0])}"
        pattern = self.pattern or "|".join(map(re.escape, self.values))
        return f"{self.label}=~{_quoted(pattern)}"

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether a series fulfils it."""
        value = labels.get(self.label, "")
        if self.pattern:
            return re.fullmatch(self.pattern, value) is not None
        return value in self.values


class Select(Expression, frozen=True, kw_only=True):
    """The series of a metric."""

    metric: str
    matches: tuple[Match, ...] = ()


class Absent(Expression, frozen=True, kw_only=True):
    """1 while there is no series of a metric."""

    metric: str


class Age(Expression, frozen=True, kw_only=True):
    """The time since a time stamp; negative when it is still to come."""

    of: Expression


class Remaining(Expression, frozen=True, kw_only=True):
    """The time until a time stamp."""

    of: Expression


class Abs(Expression, frozen=True, kw_only=True):
    """The value without its sign."""

    of: Expression


class Times(Expression, frozen=True, kw_only=True):
    """The value multiplied by a number."""

    of: Expression
    factor: float


class Count(Expression, frozen=True, kw_only=True):
    """The number of series that differ only in some labels, which the result has no more."""

    of: Expression
    without: tuple[str, ...]


class Ratio(Expression, frozen=True, kw_only=True):
    """The value by that of the series of the same labels; what has none is left out."""

    left: Expression
    right: Expression


class Plus(Expression, frozen=True, kw_only=True):
    """The value plus that of one other series; what has no such partner is left out."""

    left: Expression
    right: Expression
    on: tuple[str, ...]


class Compare(Expression, frozen=True, kw_only=True):
    """The samples of the left side for which the comparison holds."""

    left: Expression
    comparison: Comparison
    right: Expression | float


class Where(Expression, frozen=True, kw_only=True):
    """The samples of the left side that have, or have not, a partner on the right."""

    left: Expression
    operation: Operation
    right: Expression
    on: tuple[str, ...]


class Either(Expression, frozen=True, kw_only=True):
    """Both sides; where all labels are the same, the left one."""

    left: Expression
    right: Expression


def select(family: Family | OwnFamily[Gauge], *matches: Match) -> Select:
    """Select the series of a vendor family, or of one of the exporter's own gauges."""
    return Select(metric=family.name, matches=matches)


def _promql(node: Expression) -> tuple[str, int]:  # noqa: C901, PLR0911 - a case per node
    """Return a node as PromQL, and how strongly its operator binds."""
    match node:
        case Select(metric=metric, matches=matches):
            matchers = ", ".join(match.promql() for match in matches)
            return (f"{metric}{{{matchers}}}" if matchers else metric), _ATOM
        case Absent(metric=metric):
            return f"absent({metric})", _ATOM
        case Abs(of=of):
            return f"abs({of.promql()})", _ATOM
        case Count(of=of, without=without):
            return f"count without ({', '.join(without)}) ({of.promql()})", _ATOM
        case Times(of=of, factor=factor):
            return f"{_operand(factor, _MULTIPLYING)} * {_operand(of, _MULTIPLYING)}", _MULTIPLYING
        case Ratio(left=left, right=right):
            divisor = _operand(right, _MULTIPLYING)
            return f"{_operand(left, _ADDING)} / {divisor}", _MULTIPLYING
        case Age(of=of):
            return f"time() - {_operand(of, _ADDING)}", _ADDING
        case Remaining(of=of):
            return f"{_operand(of, _ADDING)} - time()", _ADDING
        case Plus(left=left, right=right, on=on):
            partner = f"on ({', '.join(on)}) group_left () {_operand(right, _ADDING)}"
            return f"{_operand(left, _COMPARING)} + {partner}", _ADDING
        case Compare(left=left, comparison=comparison, right=other):
            bound = _operand(other, _COMPARING)
            return f"{_operand(left, _COMPARING)} {comparison} {bound}", _COMPARING
        case Where(left=left, operation=operation, right=right, on=on):
            partner = f"on ({', '.join(on)}) {_operand(right, _AND)}"
            return f"{_operand(left, _OR)} {operation} {partner}", _AND
        case Either(left=left, right=right):
            return f"{left.promql()} or {_operand(right, _OR)}", _OR
    raise NotImplementedError


def _operand(node: Expression | float, strength: int) -> str:
    """Return PromQL that can stand beside an operator that binds so strongly."""
    if not isinstance(node, Expression):
        return str(int(node)) if node == int(node) else repr(node)
    text, own_strength = _promql(node)
    return text if own_strength > strength else f"({text})"


def _vector(  # noqa: C901, PLR0911, PLR0912 - a case per node
    node: Expression, samples: SampleView, now: float
) -> list[Sample]:
    """Return the series that a node selects, with their values."""
    match node:
        case Select(metric=metric, matches=matches):
            series = samples.get(metric, ())
            if not matches:
                return list(series)
            return [one for one in series if all(match.holds(one[0]) for match in matches)]
        case Absent(metric=metric):
            return [] if samples.get(metric) else [({}, 1.0)]
        case Abs(of=of):
            return [(labels, abs(value)) for labels, value in _vector(of, samples, now)]
        case Age(of=of):
            return [(labels, now - value) for labels, value in _vector(of, samples, now)]
        case Remaining(of=of):
            return [(labels, value - now) for labels, value in _vector(of, samples, now)]
        case Times(of=of, factor=factor):
            return [(labels, value * factor) for labels, value in _vector(of, samples, now)]
        case Count(of=of, without=without):
            groups = Counter(
                identity({name: text for name, text in labels.items() if name not in without})
                for labels, _ in _vector(of, samples, now)
            )
            return [(dict(group), float(count)) for group, count in groups.items()]
        case Ratio(left=left, right=right):
            divisors = right.evaluate(samples, now)
            return [
                (labels, _divided(value, divisors[identity(labels)]))
                for labels, value in _vector(left, samples, now)
                if identity(labels) in divisors
            ]
        case Plus(left=left, right=right, on=on):
            addends = {_key(labels, on): value for labels, value in _vector(right, samples, now)}
            return [
                (labels, value + addends[_key(labels, on)])
                for labels, value in _vector(left, samples, now)
                if _key(labels, on) in addends
            ]
        case Compare(left=left, comparison=comparison, right=bound):
            holds = _COMPARE[comparison]
            kept = _vector(left, samples, now)
            if not isinstance(bound, Expression):
                return [one for one in kept if holds(one[1], bound)]
            bounds = bound.evaluate(samples, now)
            # Nothing compares with what is not a number, as with a series that is missing.
            return [one for one in kept if holds(one[1], bounds.get(identity(one[0]), math.nan))]
        case Where(left=left, operation=operation, right=right, on=on):
            kept = _vector(left, samples, now)
            if not kept:
                return kept
            partners = {_key(labels, on) for labels, _ in _vector(right, samples, now)}
            wanted = operation == "and"
            return [one for one in kept if (_key(one[0], on) in partners) == wanted]
        case Either(left=left, right=right):
            ours = _vector(left, samples, now)
            taken = {identity(labels) for labels, _ in ours}
            added = _vector(right, samples, now)
            return [*ours, *(one for one in added if identity(one[0]) not in taken)]
    raise NotImplementedError


def _key(labels: Mapping[str, str], on: Iterable[str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in on)


def _divided(value: float, divisor: float) -> float:
    if divisor:
        return value / divisor
    return math.copysign(math.inf, value) if value else math.nan


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
