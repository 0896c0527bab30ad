"""Conditions as trees that are read twice: here as PromQL, in `values` over samples in memory.

There are the nodes that the alerts need and no more. All but `Over`, which needs history, can be
judged by the exporter alone as Prometheus would, and a test compares the two.
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

# How strongly PromQL's operators bind.
_OR, _AND, _COMPARING, _ADDING, _MULTIPLYING, _ATOM = range(6)


#: The label that has the number of a process' shard, where shards are told apart.
SHARD = "shard"

#: Where alerts are found as series, as Prometheus writes them.
ALERTS = "ALERTS"


class Writing(msgspec.Struct, frozen=True, kw_only=True):
    """The way in which PromQL is written.

    Attributes:
        lookback: Seconds for which a lost scrape is bridged; 0 asks for the newest sample alone.
        without: Labels that tell apart processes that watch the same targets.
        scale: Multiplies the windows of what needs history.
        alerts: Whether the alerts themselves are series.
    """

    lookback: float = 0.0
    without: tuple[str, ...] = ()
    scale: float = 1.0
    alerts: bool = True


#: PromQL that bridges no lost scrape and merges no labels.
PLAIN = Writing()


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the tree; its methods make larger trees."""

    def promql(self, writing: Writing = PLAIN) -> str:
        """Return it as PromQL."""
        return _promql(self, writing)[0]

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

    def plus(self, addend: float) -> Raised:
        """Add a number."""
        return Raised(of=self, addend=addend)

    def plus_one_of(self, other: Expression, *on: str) -> Plus:
        """Add the value of the one series with the same labels `on`."""
        return Plus(left=self, right=other, on=on)

    def divided_by(self, other: Expression) -> Ratio:
        """Divide by the series of the same labels."""
        return Ratio(left=self, right=other)

    def merged(self, by: Aggregation, *labels: str) -> Merged:
        """Make one series of those that differ only in some labels, or in the process."""
        return Merged(of=self, by=by, labels=labels)


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on a label: one of some values, or a regular expression for all of it."""

    label: str
    values: tuple[str, ...] = ()
    pattern: str = ""
    negated: bool = False

    def promql(self) -> str:
        """Return it as a matcher."""
        sign = "!" if self.negated else "="
        if len(self.values) == 1:
            return f"{self.label}{'!=' if self.negated else '='}{_quoted(self.values[0])}"
        pattern = self.pattern or "|".join(map(re.escape, self.values))
        return f"{self.label}{sign}~{_quoted(pattern)}"

    def holds(self, value: str) -> bool:
        """Return whether a value of the label fulfils it; a label that is missing is empty."""
        found = re.fullmatch(self.pattern, value) if self.pattern else value in self.values
        return bool(found) != self.negated


class Select(Expression, frozen=True, kw_only=True):
    """The series of a metric.

    Attributes:
        share: The share of the lookback for which a sample counts; 0 asks for the newest alone.
            Evidence that something was read must end before the reading does, so it has less.
    """

    metric: str
    matches: tuple[Match, ...] = ()
    share: float = 1.0


class Over(Expression, frozen=True, kw_only=True):
    """A function of a series over a window of time, which only Prometheus can judge.

    Attributes:
        function: PromQL's, such as `increase`.
        seconds: The window.
    """

    function: str
    of: Select
    seconds: float


class Sharded(Expression, frozen=True, kw_only=True):
    """The series of processes, each with the number of its process' shard as the label `shard`.

    Only Prometheus can judge it, since a process does not see the others.

    Attributes:
        labels: The labels that these have and the numbers have not.
        numbers: The number of each process' shard.
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


class Raised(Expression, frozen=True, kw_only=True):
    """The value plus a number."""

    of: Expression
    addend: float


class Merged(Expression, frozen=True, kw_only=True):
    """One series of all that differ only in some labels, which the result has no more.

    What tells processes apart is no label here, since a process sees its own samples alone.

    Attributes:
        labels: The labels that go, beside those that tell processes apart.
        kept: Of the latter those that stay.
    """

    of: Expression
    by: Aggregation
    labels: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


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


def select(family: NamedFamily, *matches: Match) -> Select:
    """Select the series of a family, whichever process watches."""
    return Select(metric=family.name, matches=matches)


def firing(*names: str) -> Select:
    """Select the alerts that fire, also those that go on while nothing else is known."""
    state = Match(label="alertstate", values=("firing",))
    return Select(metric=ALERTS, matches=(Match(label="alertname", values=names), state), share=0.0)


def merged(family: NamedFamily, *matches: Match) -> Merged:
    """Select one series per target: several processes that watch it are one."""
    return select(family, *matches).merged("max")


def _promql(node: Expression, how: Writing) -> tuple[str, int]:  # noqa: C901, PLR0911, PLR0912 - a case per node
    """Return a node as PromQL, and how strongly its operator binds."""

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
            # The count is 1, as all labels are kept.
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
    """Return PromQL that can stand beside an operator that binds so strongly."""
    if not isinstance(node, Expression):
        return str(int(node)) if node == int(node) else repr(node)
    text, own_strength = _promql(node, how)
    return text if own_strength > strength else f"({text})"


def _selector(series: Select) -> str:
    matchers = ", ".join(match.promql() for match in series.matches)
    return f"{series.metric}{{{matchers}}}" if matchers else series.metric


def _quoted(text: str) -> str:
    # Each escape of JSON is one of PromQL's, too.
    return json.dumps(text, ensure_ascii=False)
