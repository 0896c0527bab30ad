"""Conditions that can be read twice: as PromQL, and over the newest samples in memory.

The tree knows what the alerts need and no more, and nothing in it needs history: so that the
exporter can judge alone what Prometheus would, and a test can compare the two. The semantics are
PromQL's, an empty label being none; only the metric's name is no label here.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec


if TYPE_CHECKING:
    from prometheus_client import Gauge

    from exporter.metrics.catalogue import Family
    from exporter.metrics.own import OwnFamily


#: The labels of a result, sorted by name, without empty ones.
Labels = tuple[tuple[str, str], ...]

#: The labels of a series and its newest value.
Sample = tuple[Mapping[str, str], float]

#: The newest samples by metric name.
SampleView = Mapping[str, Sequence[Sample]]

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
    """A node of the tree; its methods make larger trees.

    Attributes:
        strength: How strongly its operator binds.
    """

    strength: ClassVar[int]

    def promql(self) -> str:
        """Return it as PromQL."""
        raise NotImplementedError

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the series it selects, with their values."""
        raise NotImplementedError

    def evaluate(self, samples: SampleView, now: float) -> dict[Labels, float]:
        """Return what Prometheus would, had it just scraped the samples.

        Args:
            samples: The newest samples.
            now: Seconds since the epoch.
        """
        return {identity(labels): value for labels, value in self.vector(samples, now)}

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

    def within(self, strength: int) -> str:
        """Return it as PromQL that can stand as an operand of an operator that binds so."""
        return self.promql() if self.strength > strength else f"({self.promql()})"


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

    strength = _ATOM

    def promql(self) -> str:
        """Return the selector."""
        matchers = ", ".join(match.promql() for match in self.matches)
        return f"{self.metric}{{{matchers}}}" if matchers else self.metric

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the series that match."""
        del now
        series = samples.get(self.metric, ())
        if not self.matches:
            return list(series)
        return [one for one in series if all(match.holds(one[0]) for match in self.matches)]


class Age(Expression, frozen=True, kw_only=True):
    """How long ago a time stamp was; negative when it is still to come."""

    of: Expression

    strength = _ADDING

    def promql(self) -> str:
        """Return the difference."""
        return f"time() - {self.of.within(_ADDING)}"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the ages."""
        return [(labels, now - value) for labels, value in self.of.vector(samples, now)]


class Remaining(Expression, frozen=True, kw_only=True):
    """How long it is until a time stamp."""

    of: Expression

    strength = _ADDING

    def promql(self) -> str:
        """Return the difference."""
        return f"{self.of.within(_ADDING)} - time()"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the times that remain."""
        return [(labels, value - now) for labels, value in self.of.vector(samples, now)]


class Abs(Expression, frozen=True, kw_only=True):
    """The value without its sign."""

    of: Expression

    strength = _ATOM

    def promql(self) -> str:
        """Return the call."""
        return f"abs({self.of.promql()})"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the values without their signs."""
        return [(labels, abs(value)) for labels, value in self.of.vector(samples, now)]


class Times(Expression, frozen=True, kw_only=True):
    """The value multiplied by a number."""

    of: Expression
    factor: float

    strength = _MULTIPLYING

    def promql(self) -> str:
        """Return the product."""
        return f"{_number(self.factor)} * {self.of.within(_MULTIPLYING)}"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the products."""
        return [(labels, value * self.factor) for labels, value in self.of.vector(samples, now)]


class Ratio(Expression, frozen=True, kw_only=True):
    """The value by that of the series of the same labels; what has none is left out."""

    left: Expression
    right: Expression

    strength = _MULTIPLYING

    def promql(self) -> str:
        """Return the quotient."""
        return f"{self.left.within(_ADDING)} / {self.right.within(_MULTIPLYING)}"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the quotients."""
        divisors = self.right.evaluate(samples, now)
        return [
            (labels, _divided(value, divisors[identity(labels)]))
            for labels, value in self.left.vector(samples, now)
            if identity(labels) in divisors
        ]


class Plus(Expression, frozen=True, kw_only=True):
    """The value plus that of one other series; what has no such partner is left out."""

    left: Expression
    right: Expression
    on: tuple[str, ...]

    strength = _ADDING

    def promql(self) -> str:
        """Return the sum."""
        left, right = self.left.within(_ADDING - 1), self.right.within(_ADDING)
        return f"{left} + on ({', '.join(self.on)}) group_left () {right}"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the sums."""
        partners = {
            _key(labels, self.on): value for labels, value in self.right.vector(samples, now)
        }
        return [
            (labels, value + partners[_key(labels, self.on)])
            for labels, value in self.left.vector(samples, now)
            if _key(labels, self.on) in partners
        ]


class Compare(Expression, frozen=True, kw_only=True):
    """What is left of the left side: where the comparison holds."""

    left: Expression
    comparison: Comparison
    right: Expression | float

    strength = _COMPARING

    def promql(self) -> str:
        """Return the comparison."""
        other = self.right
        right = other.within(_COMPARING) if isinstance(other, Expression) else _number(other)
        return f"{self.left.within(_COMPARING)} {self.comparison} {right}"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the samples for which it holds."""
        holds = _COMPARE[self.comparison]
        left = self.left.vector(samples, now)
        if not isinstance(self.right, Expression):
            bound = self.right
            return [one for one in left if holds(one[1], bound)]
        bounds = self.right.evaluate(samples, now)
        # Nothing compares with what is not a number, as with a series that is missing.
        return [one for one in left if holds(one[1], bounds.get(identity(one[0]), math.nan))]


class Where(Expression, frozen=True, kw_only=True):
    """What is left of the left side: what has, or has not, a partner on the right."""

    left: Expression
    operation: Operation
    right: Expression
    on: tuple[str, ...]

    strength = _AND

    def promql(self) -> str:
        """Return the set operation."""
        on = f"on ({', '.join(self.on)})"
        return f"{self.left.within(_OR)} {self.operation} {on} {self.right.within(_AND)}"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the left side's samples that stay."""
        left = self.left.vector(samples, now)
        if not left:
            return left
        partners = {_key(labels, self.on) for labels, _ in self.right.vector(samples, now)}
        wanted = self.operation == "and"
        return [one for one in left if (_key(one[0], self.on) in partners) == wanted]


class Either(Expression, frozen=True, kw_only=True):
    """Both sides; where all labels are the same, the left one."""

    left: Expression
    right: Expression

    strength = _OR

    def promql(self) -> str:
        """Return the union."""
        return f"{self.left.promql()} or {self.right.within(_OR)}"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return the samples of both sides."""
        left = self.left.vector(samples, now)
        taken = {identity(labels) for labels, _ in left}
        right = self.right.vector(samples, now)
        return [*left, *(one for one in right if identity(one[0]) not in taken)]


class Count(Expression, frozen=True, kw_only=True):
    """How many series differ only in some labels, which the result has no more."""

    of: Expression
    without: tuple[str, ...]

    strength = _ATOM

    def promql(self) -> str:
        """Return the aggregation."""
        return f"count without ({', '.join(self.without)}) ({self.of.promql()})"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return a number per group."""
        groups: Counter[Labels] = Counter()
        for labels, _ in self.of.vector(samples, now):
            rest = {name: text for name, text in labels.items() if name not in self.without}
            groups[identity(rest)] += 1
        return [(dict(group), float(count)) for group, count in groups.items()]


class Absent(Expression, frozen=True, kw_only=True):
    """1 while there is no series of a metric."""

    metric: str

    strength = _ATOM

    def promql(self) -> str:
        """Return the call."""
        return f"absent({self.metric})"

    def vector(self, samples: SampleView, now: float) -> list[Sample]:
        """Return one sample without labels, or none."""
        del now
        return [] if samples.get(self.metric) else [({}, 1.0)]


def select(family: Family | OwnFamily[Gauge], *matches: Match) -> Select:
    """Select the series of a vendor family, or of one of the exporter's own gauges."""
    return Select(metric=family.name, matches=matches)


def identity(labels: Mapping[str, str]) -> Labels:
    """Return labels in a form that can be compared and hashed."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _key(labels: Mapping[str, str], on: Iterable[str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in on)


def _divided(value: float, divisor: float) -> float:
    if divisor:
        return value / divisor
    return math.copysign(math.inf, value) if value else math.nan


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
