"""The verdict on the fleet as a whole: the headline, and a tile for each kind of target."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.fleet.kinds import Kind
from exporter.overview.filters import Badge, badges_of
from exporter.overview.format import count, listed
from exporter.overview.rows import AgentRow, Condition, SuiteRow, TargetRow, word


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.overview.sources import SourceRow


Level = Literal["good", "unsure", "bad"]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """All targets of a kind, with how many are in which state."""

    kind: Kind
    rows: tuple[TargetRow, ...]
    counts: tuple[tuple[Condition, int], ...]


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of target at a glance.

    Attributes:
        badges: How many targets have which badge.
        bar: Condition, beginning and length in percent of each part of a bar.
    """

    kind: Kind
    total: int
    badges: tuple[tuple[Badge, int], ...]
    bar: tuple[tuple[Condition, float, float], ...]


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to the first question.

    Attributes:
        down: The part of the text that counts targets that are down, empty if none is.
        alarming: Whether something is down or could not be read, so that a script should fail.
    """

    level: Level
    text: str
    details: tuple[str, ...] = ()
    down: str = ""
    alarming: bool = False


def groups(rows: Sequence[TargetRow]) -> list[Group]:
    """Part arranged rows by kind, leaving out kinds of which there is none."""
    found = []
    for kind, members in groupby(rows, key=attrgetter("kind")):
        same = tuple(members)
        counted = Counter(row.state for row in same)
        counts = tuple((state, counted[state]) for state in Condition if counted[state])
        found.append(Group(kind=kind, rows=same, counts=counts))
    return found


def tiles(rows: Sequence[TargetRow]) -> list[Tile]:
    """Sum up arranged rows by kind."""
    return [
        Tile(
            kind=group.kind,
            total=len(group.rows),
            badges=tuple(badges_of(group.rows)),
            bar=tuple(_bar(group)),
        )
        for group in groups(rows)
    ]


def _bar(group: Group) -> Iterator[tuple[Condition, float, float]]:
    begin = 0.0
    for condition, number in group.counts:
        length = 100 * number / len(group.rows)
        yield condition, round(begin, 2), round(length, 2)
        begin += length


def headline(rows: Sequence[TargetRow], sources: Sequence[SourceRow], *, ready: bool) -> Headline:
    """Answer whether the fleet is well.

    Inactive targets are left out, as nobody expects anything of them, and so are agents that the
    vendor has ended, which it does when it needs them no more. The verdicts of suites are
    told but do not count: a failed test says something about what is tested, not about the fleet.
    """
    suites = [row for row in rows if isinstance(row, SuiteRow)]
    ended = sum(map(_is_ended, rows))
    machines = Counter(row.state for row in rows if row.kind is not Kind.SUITE)
    machines[Condition.DOWN] -= ended
    judged = machines.total() - machines[Condition.INACTIVE]
    sources_down = sum(source.state is Condition.DOWN for source in sources)
    broken = sum(suite.state is Condition.DOWN for suite in suites)
    number = machines[Condition.DOWN]
    down = f"{number} of {count(judged, 'target')} down" if number else ""
    faults = [
        *_some(sources_down, f"{sources_down} of {count(len(sources), 'source')} down"),
        *_some(len(down), down),
        *_some(broken, f"{count(broken, 'suite')} {word(Condition.DOWN, Kind.SUITE)}"),
    ]
    unread = _unread(sources) if ready else ""
    unknown = machines[Condition.UNKNOWN]
    failed = sum(suite.last_run_passed is False for suite in suites)
    outdated = sum(row.outdated is True for row in rows)
    told_suites = count(len(suites), "suite")
    # With these the numbers add up to all targets that are listed.
    apart = [
        *_some(machines[Condition.INACTIVE], f"{machines[Condition.INACTIVE]} inactive"),
        *_some(ended, f"{ended} ended by the vendor"),
        *_some(len(suites) if judged else 0, told_suites),
    ]
    details = (
        *_some(unknown, f"{unknown} unknown"),
        *_some(outdated, f"{outdated} outdated"),
        *_some(failed, f"{count(failed, 'suite')} did not pass"),
        *_some(len(apart), f"not counted: {listed(apart)}"),
    )
    level: Level = "unsure"
    if faults:
        level = "bad"
        more = f", and {unread}" if unread else ""
        text = f"The fleet is not well: {', '.join(faults)}{more}."
    elif not sources:
        text = "No source is configured, so nothing is watched."
    elif not ready:
        text = "Starting: the first polls have not finished."
    elif unread:
        text = f"The fleet is not fully known: {unread}."
    elif unknown or any(source.state is Condition.UNKNOWN for source in sources):
        text = "Nothing is known to be down, but not all is known."
    elif not judged and not suites:
        text = "No target is watched: the sources answer, but tell of none that is active."
    else:
        level = "good"
        up = f"{count(judged, 'target')} up"
        text = f"The fleet is well: {up if judged else f'no targets but {told_suites}'}."
    return Headline(
        level=level, text=text, details=details, down=down, alarming=bool(faults or unread)
    )


def _is_ended(row: TargetRow) -> bool:
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
        not task.failing and task.last_success_age_seconds is not None for task in source.tasks
    )
    return source.state is Condition.DOWN and (source.blocked or not answered)


def _some(number: int, text: str) -> tuple[str, ...]:
    return (text,) if number else ()
