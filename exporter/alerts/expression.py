"""Conditions as trees: written here as PromQL, evaluated in `values` over samples in memory.

There is a node type for each thing that the alerts need, and no more. The exporter evaluates all of
them as Prometheus does, which a test compares, except `Over`, which needs history, and `Sharded`,
which needs the samples of other processes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.config.types import format_duration


if TYPE_CHECKING:
    from exporter.metrics.catalogue import NamedFamily


Comparison = Literal["==", "<", "<=", ">", ">="]
Operation = Literal["and", "unless"]
Aggregation = Literal["max", "min", "sum", "count"]

# The precedence of PromQL's operators, in ascending order.
_OR, _AND, _COMPARING, _ADDING, _MULTIPLYING, _ATOM = range(6)


#: The label with the number of a process's shard, in expressions that distinguish shards.
SHARD = "shard"

#: The metric in which Prometheus stores the state of its alerts.
ALERTS = "ALERTS"


class Writing(msgspec.Struct, frozen=True, kw_only=True):
    """The options with which PromQL is written.

    Attributes:
        lookback: Seconds for which lost scrapes are bridged; 0 selects only the newest sample.
        without: Labels that distinguish processes that watch the same targets.
        scale: Multiplies the windows of range functions.
        alerts: Whether the state of alerts can be queried as `ALERTS` series.
    """

    lookback: float = 0.0
    without: tuple[str, ...] = ()
    scale: float = 1.0
    alerts: bool = True


#: PromQL that bridges no lost scrape and merges no labels.
PLAIN = Writing()


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the tree; its methods return larger trees."""

    def promql(self, writing: Writing = PLAIN) -> str:
        """Return the expression as PromQL."""
        return _promql(self, writing)[0]

    def compared(self, comparison: Comparison, other: Expression | float) -> Compare:
        """Return a filter by comparison with a number, or with the series of the same labels."""
        return Compare(left=self, comparison=comparison, right=other)

    def where(self, operation: Operation, other: Expression, *on: str) -> Where:
        """Return a filter: series with (`and`) or without (`unless`) a match on the labels `on`."""
        return Where(left=self, operation=operation, right=other, on=on)

    def either(self, other: Expression) -> Either:
        """Return the union; of series with the same labels, those of `self` count."""
        return Either(left=self, right=other)

    def times(self, factor: float) -> Times:
        """Return the product with a number."""
        return Times(of=self, factor=factor)

    def plus(self, addend: float) -> Raised:
        """Return the sum with a number."""
        return Raised(of=self, addend=addend)

    def plus_one_of(self, other: Expression, *on: str) -> Plus:
        """Return the sum with the one series that has the same labels `on`."""
        return Plus(left=self, right=other, on=on)

    def divided_by(self, other: Expression) -> Ratio:
        """Return the quotient by the series of the same labels."""
        return Ratio(left=self, right=other)

    def merged(self, by: Aggregation, *labels: str) -> Merged:
        """Return the aggregation over some labels, and over the processes that watch the same."""
        return Merged(of=self, by=by, labels=labels)


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A label matcher: one of some values, or a regular expression for the whole value."""

    label: str
    values: tuple[str, ...] = ()
    pattern: str = ""
    negated: bool = False

    def promql(self) -> str:
        """Return the matcher as PromQL."""
        sign = "!" if self.negated else "="
        if len(self.values) == 1:
            return f"{self.label}{'!=' if self.negated else '='}{_quoted(self.values[0])}"
        pattern = self.pattern or "|".join(map(re.escape, self.values))
        return f"{self.label}{sign}~{_quoted(pattern)}"

    def holds(self, value: str) -> bool:
        """Return whether a value matches; a missing label counts as empty."""
        found = re.fullmatch(self.pattern, value) if self.pattern else value in self.values
        return bool(found) != self.negated


class Select(Expression, frozen=True, kw_only=True):
    """The series of a metric.

    Attributes:
        share: The share of the lookback for which a sample counts; 0 selects only the newest.
            Evidence that a target was read has a smaller share than the readings themselves, as it
            must expire before them.
    """

    metric: str
    matches: tuple[Match, ...] = ()
    share: float = 1.0


class Over(Expression, frozen=True, kw_only=True):
    """A function of a series over a window of time, which only Prometheus can evaluate.

    Attributes:
        function: The name of the function in PromQL, such as `increase`.
        seconds: The length of the window.
    """

    function: str
    of: Select
    seconds: float


class Sharded(Expression, frozen=True, kw_only=True):
    """The series of processes, each with the number of its process's shard as the label `shard`.

    Only Prometheus can evaluate it, since a process does not see the others.

    Attributes:
        labels: The labels of the series that the series of `numbers` do not have.
        numbers: A series per process with the number of its shard.
    """

    of: Expression
    labels: tuple[str, ...]
    numbers: Select


class Always(Expression, frozen=True, kw_only=True):
    """1, without labels."""


class Absent(Expression, frozen=True, kw_only=True):
    """1 while there is no series."""

    of: Select


class Age(Expression, frozen=True, kw_only=True):
    """The seconds since a time stamp; negative for one in the future."""

    of: Expression


class Remaining(Expression, frozen=True, kw_only=True):
    """The seconds until a time stamp."""

    of: Expression


class Abs(Expression, frozen=True, kw_only=True):
    """The absolute value."""

    of: Expression


class Times(Expression, frozen=True, kw_only=True):
    """The value multiplied by a number."""

    of: Expression
    factor: float


class Raised(Expression, frozen=True, kw_only=True):
    """The value plus a number."""

    of: Expression
    addend: float


class Merged(Expression, frozen=True, kw_only=True):
    """An aggregation over some labels, which are dropped from the result.

    PromQL also drops the labels that distinguish processes (`Writing.without`). The built-in
    evaluation has no such labels, since a process sees only its own samples.

    Attributes:
        labels: The labels to drop.
        kept: The labels of `Writing.without` to keep.
    """

    of: Expression
    by: Aggregation
    labels: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Ratio(Expression, frozen=True, kw_only=True):
    """The quotient of two series with the same labels; series without a match are dropped."""

    left: Expression
    right: Expression


class Plus(Expression, frozen=True, kw_only=True):
    """The sum with the one other series that matches on some labels; others are dropped."""

    left: Expression
    right: Expression
    on: tuple[str, ...]


class Compare(Expression, frozen=True, kw_only=True):
    """The samples of the left side for which the comparison holds."""

    left: Expression
    comparison: Comparison
    right: Expression | float


class Where(Expression, frozen=True, kw_only=True):
    """The samples of the left side with (`and`) or without (`unless`) a match on the right."""

    left: Expression
    operation: Operation
    right: Expression
    on: tuple[str, ...]


class Either(Expression, frozen=True, kw_only=True):
    """The union of both sides; of series with the same labels the left one counts."""

    left: Expression
    right: Expression


def select(family: NamedFamily, *matches: Match) -> Select:
    """Return the selector of a family's series, of all processes."""
    return Select(metric=family.name, matches=matches)


def firing(*names: str) -> Select:
    """Return the selector of firing alerts, including those kept while nothing else is known."""
    state = Match(label="alertstate", values=("firing",))
    return Select(metric=ALERTS, matches=(Match(label="alertname", values=names), state), share=0.0)


def merged(family: NamedFamily, *matches: Match) -> Merged:
    """Return the selector of one series per target, however many processes watch the target."""
    return select(family, *matches).merged("max")


def _promql(node: Expression, how: Writing) -> tuple[str, int]:  # noqa: C901, PLR0911, PLR0912 - a case per node
    """Return a node as PromQL, and the precedence of its operator."""

    def text(part: Expression | float, strength: int) -> str:
        return _operand(part, strength, how)

    match node:
        case Select(share=share):
            seconds = how.lookback * share
            if not seconds:
                return _selector(node), _ATOM
            return f"last_over_time({_selector(node)}[{format_duration(seconds)}])", _ATOM
        case Over(function=function, of=series, seconds=seconds):
            window = format_duration(seconds * how.scale)
            return f"{function}({_selector(series)}[{window}])", _ATOM
        case Always():
            return "vector(1)", _ATOM
        case Absent(of=series):
            return f"absent({series.promql(how)})", _ATOM
        case Abs(of=of):
            return f"abs({of.promql(how)})", _ATOM
        case Merged(of=of, by=by, labels=labels, kept=kept):
            without = ", ".join((*labels, *(name for name in how.without if name not in kept)))
            return f"{by} without ({without}) ({of.promql(how)})", _ATOM
        case Sharded(of=of, labels=labels, numbers=numbers):
            # Each count is 1, as all labels are kept: multiplying by it only adds the label.
            shards = f'count_values without () ("{SHARD}", {numbers.promql(how)})'
            partner = f"ignoring ({', '.join((*labels, SHARD))}) group_left ({SHARD}) {shards}"
            return f"{text(of, _MULTIPLYING)} * {partner}", _MULTIPLYING
        case Times(of=of, factor=factor):
            return f"{text(factor, _MULTIPLYING)} * {text(of, _MULTIPLYING)}", _MULTIPLYING
        case Raised(of=of, addend=addend):
            return f"{text(of, _COMPARING)} + {text(addend, _ADDING)}", _ADDING
        case Ratio(left=left, right=right):
            return f"{text(left, _ADDING)} / {text(right, _MULTIPLYING)}", _MULTIPLYING
        case Age(of=of):
            return f"time() - {text(of, _ADDING)}", _ADDING
        case Remaining(of=of):
            return f"{text(of, _ADDING)} - time()", _ADDING
        case Plus(left=left, right=right, on=on):
            partner = f"on ({', '.join(on)}) group_left () {text(right, _ADDING)}"
            return f"{text(left, _COMPARING)} + {partner}", _ADDING
        case Compare(left=left, comparison=comparison, right=other):
            bound = text(other, _COMPARING)
            return f"{text(left, _COMPARING)} {comparison} {bound}", _COMPARING
        case Where(left=left, operation=operation, right=right, on=on):
            partner = f"on ({', '.join(on)}) {text(right, _AND)}"
            return f"{text(left, _OR)} {operation} {partner}", _AND
        case Either(left=left, right=Select(metric=metric)) if metric == ALERTS and not how.alerts:
            return _promql(left, how)
        case Either(left=left, right=right):
            return f"{left.promql(how)} or {text(right, _OR)}", _OR
    raise NotImplementedError


def _operand(node: Expression | float, strength: int, how: Writing) -> str:
    """Return a node as an operand, in parentheses unless it binds more strongly than the operator.

    Args:
        node: The operand.
        strength: The precedence of the operator.
        how: The options of the PromQL.
    """
    if not isinstance(node, Expression):
        return str(int(node)) if node == int(node) else repr(node)
    text, own_strength = _promql(node, how)
    return text if own_strength > strength else f"({text})"


def _selector(series: Select) -> str:
    matchers = ", ".join(match.promql() for match in series.matches)
    return f"{series.metric}{{{matchers}}}" if matchers else series.metric


def _quoted(text: str) -> str:
    # PromQL's string literals know all escapes of JSON.
    return json.dumps(text, ensure_ascii=False)
