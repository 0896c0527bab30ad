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

#: The level of a target that has a problem.
LEVELS: Mapping[str, Level] = {Severity.CRITICAL: "bad", Severity.WARNING: "warn"}

#: How targets are marked, the worst first.
_LOOKS: tuple[str, ...] = (*WRONG, *Condition)

#: So many sorts of problems are told in the headline.
_TOLD = 4

# Words that an alert's name begins with, of which there can be several.
_NOUNS = frozenset({*Kind, "source", "task", "certificate"})

_NOT_FIT = "not fit"

_TAILS = {
    "clock skew": "with clock skew",
    "engine errors": "with engine errors",
    "internal error": "with an internal error",
}


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """All targets of a kind, with how many are in which state."""

    kind: Kind
    rows: tuple[TargetRow, ...]
    counts: tuple[tuple[Condition, int], ...]


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of target at a glance.

    Attributes:
        states: How many targets have which state, and the look of the worst of them.
        bar: Look, beginning and length in percent of each part of a bar.
    """

    kind: Kind
    total: int
    states: tuple[tuple[State, int, str], ...]
    bar: tuple[tuple[str, float, float], ...]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The targets that share a source, a provider or the value of a label.

    Attributes:
        value: What they share; empty for those without the label.
        total: How many there are.
        wrong: How many have which severity, with what their sources suffer from as a whole.
        counts: How many are in which condition.
        bar: As that of a `Tile`.
    """

    value: str
    total: int
    wrong: tuple[tuple[Severity, int], ...]
    counts: tuple[tuple[Condition, int], ...]
    bar: tuple[tuple[str, float, float], ...]


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to the first question.

    Attributes:
        alarming: Whether something is wrong or not known, so that a script should fail.
    """

    level: Level
    text: str
    details: tuple[str, ...] = ()
    alarming: bool = False


def look(row: TargetRow) -> str:
    """Return how a target is marked: by the worst that is wrong with it, else by its condition."""
    return row.severity if row.severity in WRONG else row.state


def groups(rows: Sequence[TargetRow]) -> list[Group]:
    """Part arranged rows by kind, leaving out kinds of which there is none."""
    return [
        Group(kind=kind, rows=same, counts=_counts(same))
        for kind, members in groupby(rows, key=attrgetter("kind"))
        if (same := tuple(members))
    ]


def tiles(rows: Sequence[TargetRow]) -> list[Tile]:
    """Sum up arranged rows by kind."""
    return [
        Tile(
            kind=group.kind,
            total=len(group.rows),
            states=tuple(
                (state, len(having), min(map(look, having), key=_LOOKS.index))
                for state, having in by_state(group.rows)
            ),
            bar=_bar(group.rows),
        )
        for group in groups(rows)
    ]


def tallies(rows: Iterable[TargetRow], by: str, problems: Iterable[Problem] = ()) -> list[Tally]:
    """Count targets by what they share, where most is wrong first.

    Args:
        rows: The targets.
        by: `source`, `provider` or the name of a label.
        problems: Those of whole sources count beside those of targets.
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
    for each in _LOOKS:
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
    """Answer whether the fleet is well, by the alert table.

    A critical problem makes it unwell, a warning needs attention, and anything else is neither.
    Without problems it is well only if everything that could have one is known. Inactive targets
    are left out of the count, as nobody expects anything of them, and so are agents that the
    vendor has ended, which it does when it needs them no more. A target that is down without an
    alert, as where that is switched off, makes nothing unwell, and is not said to be up.
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
    told_suites = count(suites, "suite")
    # With these the numbers add up to all targets that are listed.
    apart = [
        *_some(machines[Condition.INACTIVE], f"{machines[Condition.INACTIVE]} inactive"),
        *_some(ended, f"{ended} ended by the vendor"),
        *_some(down, f"{down} down without an alert"),
        *_some(suites if judged else 0, told_suites),
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
        text = "No target is watched: the sources answer, but tell of none that is active."
    elif judged and down == judged:
        text = "No alert tells of it, but no target is up."
    else:
        level = "good"
        up = f"{count(judged - down, 'target')} up"
        text = f"The fleet is well: {up if judged else f'no targets but {told_suites}'}."
    alarming = bool(critical or warnings or unread or unanswered or not ready)
    return Headline(level=level, text=text, details=details, alarming=alarming)


def _phrases(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Tell what is wrong, the problems of a sort together, in the words of the alerts' names."""
    numbers = Counter(problem.title for problem in problems)
    told = [_phrase(title, number) for title, number in numbers.items()]
    more = len(told) - _TOLD
    return (*told[:_TOLD], *_some(max(0, more), f"and {more} more"))


def _phrase(title: str, number: int) -> str:
    words = spoken(title)
    if words == _NOT_FIT:
        return f"not found fit for {count(number, 'test')}"
    noun, _, rest = words.partition(" ")
    if noun not in _NOUNS:
        return f"{noun} {rest}"
    return f"{count(number, noun)} {_TAILS.get(rest, rest)}"


def is_ended(row: TargetRow) -> bool:
    """Return whether the vendor has ended an agent that it had started, which is no fault."""
    return isinstance(row, AgentRow) and bool(row.managed) and row.state is Condition.DOWN


def _unread(sources: Sequence[SourceRow]) -> str:
    """Name what could not be read; of a source that tells nothing at all nobody expects it."""
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
