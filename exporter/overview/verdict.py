"""The verdict on the fleet as a whole: the headline, and a tile for each kind of target."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.alerts.rule import Severity
from exporter.fleet.kinds import Kind
from exporter.overview.filters import GROUPS, State, by_state
from exporter.overview.format import count, listed
from exporter.overview.problems import WRONG, spoken
from exporter.overview.rows import AgentRow, Condition, TargetRow


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exporter.overview.problems import Problem
    from exporter.overview.sources import SourceRow


Level = Literal["good", "unsure", "warn", "bad"]

#: The level of a problem, by its severity.
LEVELS: Mapping[str, Level] = {Severity.CRITICAL: "bad", Severity.WARNING: "warn"}

#: The marks of targets, the worst first.
_MARKS: tuple[str, ...] = (*WRONG, *Condition)

#: The most kinds of problems in the headline.
_MOST_PHRASES = 4

# The countable nouns with which alerts' names begin.
_NOUNS = frozenset({*Kind, "source", "task", "certificate"})

_NOT_FIT = "not fit"

_TAILS = {
    "clock skew": "with clock skew",
    "engine errors": "with engine errors",
    "internal error": "with an internal error",
}


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The targets of a kind, with their number by condition."""

    kind: Kind
    rows: tuple[TargetRow, ...]
    counts: tuple[tuple[Condition, int], ...]


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of a kind of target.

    Attributes:
        states: The number of targets by state, with the mark of the worst of them.
        bar: The parts of a bar: the mark, and the beginning and the length in percent.
    """

    kind: Kind
    total: int
    states: tuple[tuple[State, int, str], ...]
    bar: tuple[tuple[str, float, float], ...]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The targets that share a source, a provider or the value of a label.

    Attributes:
        value: The shared value; empty for targets without the label.
        total: The number of targets.
        wrong: The number of problems by severity, including those of whole sources.
        counts: The number of targets by condition.
        bar: The parts of a bar, as for a `Tile`.
    """

    value: str
    total: int
    wrong: tuple[tuple[Severity, int], ...]
    counts: tuple[tuple[Condition, int], ...]
    bar: tuple[tuple[str, float, float], ...]


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of the fleet's state in a sentence.

    Attributes:
        alarming: Whether something is wrong or unknown, so that a script should fail.
    """

    level: Level
    text: str
    details: tuple[str, ...] = ()
    alarming: bool = False


def look(row: TargetRow) -> str:
    """Return the mark of a target: the severity of its worst problem, else its condition."""
    return row.severity if row.severity in WRONG else row.state


def groups(rows: Sequence[TargetRow]) -> list[Group]:
    """Return rows, which must be sorted by kind, grouped by kind."""
    return [
        Group(kind=kind, rows=same, counts=_counts(same))
        for kind, members in groupby(rows, key=attrgetter("kind"))
        if (same := tuple(members))
    ]


def tiles(rows: Sequence[TargetRow]) -> list[Tile]:
    """Return the summaries of rows, which must be sorted by kind."""
    return [
        Tile(
            kind=group.kind,
            total=len(group.rows),
            states=tuple(
                (state, len(having), min(map(look, having), key=_MARKS.index))
                for state, having in by_state(group.rows)
            ),
            bar=_bar(group.rows),
        )
        for group in groups(rows)
    ]


def tallies(rows: Iterable[TargetRow], by: str, problems: Iterable[Problem] = ()) -> list[Tally]:
    """Return the targets counted by a shared value, those with the most problems first.

    Args:
        rows: The targets.
        by: `source`, `provider` or the name of a label.
        problems: All problems, of which those of whole sources are added to those of the targets.
    """
    found: dict[str, list[TargetRow]] = {}
    for row in rows:
        value = getattr(row, by) if by in GROUPS else row.labels.get(by, "")
        found.setdefault(value, []).append(row)
    wrong = {
        value: Counter(row.severity for row in same if row.severity in WRONG)
        for value, same in found.items()
    }
    for problem in problems:
        if problem.source and not problem.kind and problem.severity in WRONG:
            value = getattr(problem, by) if by in GROUPS else problem.labels.get(by, "")
            wrong.setdefault(value, Counter())[problem.severity] += 1
    order = sorted(wrong, key=lambda value: (*(-wrong[value][each] for each in WRONG), value))
    return [
        Tally(
            value=value,
            total=len(same := found.get(value, [])),
            wrong=tuple((each, wrong[value][each]) for each in WRONG if wrong[value][each]),
            counts=_counts(same),
            bar=_bar(same),
        )
        for value in order
    ]


def _counts(rows: Iterable[TargetRow]) -> tuple[tuple[Condition, int], ...]:
    counted = Counter(row.state for row in rows)
    return tuple((state, counted[state]) for state in Condition if counted[state])


def _bar(rows: Sequence[TargetRow]) -> tuple[tuple[str, float, float], ...]:
    counted = Counter(map(look, rows))
    begin, parts = 0.0, []
    for each in _MARKS:
        if counted[each]:
            length = 100 * counted[each] / len(rows)
            parts.append((each, round(begin, 2), round(length, 2)))
            begin += length
    return tuple(parts)


def headline(
    rows: Sequence[TargetRow],
    sources: Sequence[SourceRow],
    problems: Sequence[Problem] = (),
    *,
    ready: bool,
) -> Headline:
    """Return the headline: whether the fleet is well, by the alert table.

    With a critical problem the fleet is not well, with a warning it needs attention. Without
    either it is well only if everything is known that could have a problem. Inactive targets are
    not counted, nor are agents that the vendor has stopped because it no longer needs them. A
    target that is down without an alert, for example because the alert is switched off, does not
    make the fleet unwell, but is not counted as up.
    """
    critical, warnings = (
        _phrases(each for each in problems if each.severity is severity) for severity in WRONG
    )
    suites = sum(row.kind is Kind.SUITE for row in rows)
    ended = sum(map(is_ended, rows))
    machines = Counter(row.state for row in rows if row.kind is not Kind.SUITE)
    judged = machines.total() - machines[Condition.INACTIVE] - ended
    down = 0 if critical or warnings else machines[Condition.DOWN] - ended
    unread = _unread(sources) if ready else ""
    unknown = machines[Condition.UNKNOWN]
    unanswered = any(source.state is not Condition.UP for source in sources)
    counted_suites = count(suites, "suite")
    # With these the numbers add up to the number of listed targets.
    apart = [
        *_some(machines[Condition.INACTIVE], f"{machines[Condition.INACTIVE]} inactive"),
        *_some(ended, f"{ended} ended by the vendor"),
        *_some(down, f"{down} down without an alert"),
        *_some(suites if judged else 0, counted_suites),
    ]
    details = (
        *(warnings if critical else ()),
        *_some(unknown, f"{unknown} unknown"),
        *_some(len(unread) if critical or warnings else 0, unread),
        *_some(len(apart), f"not counted: {listed(apart)}"),
    )
    level: Level = "unsure"
    if critical:
        level = "bad"
        text = f"The fleet is not well: {', '.join(critical)}."
    elif warnings:
        level = "warn"
        text = f"The fleet needs attention: {', '.join(warnings)}."
    elif not sources:
        text = "No source is configured, so nothing is watched."
    elif not ready:
        text = "Starting: the first polls have not finished."
    elif unread:
        text = f"The fleet is not fully known: {unread}."
    elif unknown or unanswered:
        text = "Nothing is known to be wrong, but not all is known."
    elif not judged and not suites:
        text = "No target is watched: the sources answer, but list no active target."
    elif judged and down == judged:
        text = "No target is up, although no alert fires for that."
    else:
        level = "good"
        up = f"{count(judged - down, 'target')} up"
        text = f"The fleet is well: {up if judged else f'no targets but {counted_suites}'}."
    alarming = bool(critical or warnings or unread or unanswered or not ready)
    return Headline(level=level, text=text, details=details, alarming=alarming)


def _phrases(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Return a phrase for each alert with problems, in the words of the alert's name."""
    numbers = Counter(problem.title for problem in problems)
    phrases = [_phrase(title, number) for title, number in numbers.items()]
    more = len(phrases) - _MOST_PHRASES
    return (*phrases[:_MOST_PHRASES], *_some(max(0, more), f"and {more} more"))


def _phrase(title: str, number: int) -> str:
    words = spoken(title)
    if words == _NOT_FIT:
        return f"not found fit for {count(number, 'test')}"
    noun, _, rest = words.partition(" ")
    if noun not in _NOUNS:
        return f"{noun} {rest}"
    return f"{count(number, noun)} {_TAILS.get(rest, rest)}"


def is_ended(row: TargetRow) -> bool:
    """Return whether the vendor has stopped an agent that it had started, which is no fault."""
    return isinstance(row, AgentRow) and bool(row.managed) and row.state is Condition.DOWN


def _unread(sources: Sequence[SourceRow]) -> str:
    """Return a phrase with the unread tasks, except those of sources that do not answer at all."""
    unread = {
        source.name: [task.name for task in source.tasks if task.unread]
        for source in sources
        if not _is_silent(source)
    }
    named = [f"{listed(tasks)} of {name}" for name, tasks in unread.items() if tasks]
    return f"{listed(named)} could not be read" if named else ""


def _is_silent(source: SourceRow) -> bool:
    """Return whether a source is down for all of its tasks, not only for the newest call."""
    answered = any(
        not task.failing and task.last_success_timestamp_seconds is not None
        for task in source.tasks
    )
    return source.state is Condition.DOWN and (source.blocked or not answered)


def _some(number: int, text: str) -> tuple[str, ...]:
    return (text,) if number else ()
