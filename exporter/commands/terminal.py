"""The fleet as a table in a terminal: aligned, coloured for people, plain for pipes."""

from __future__ import annotations

import shutil
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import msgspec

from exporter.overview.format import agents_up, count, duration, signed, words
from exporter.overview.problems import Problem
from exporter.overview.rows import (
    URGENCY,
    AgentRow,
    ClusterRow,
    Condition,
    LocationRow,
    RecorderRow,
    RunRow,
    SuiteRow,
    TargetRow,
    word,
)
from exporter.overview.sources import SourceRow
from exporter.overview.verdict import Headline


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    #: Writes a report on the paper it is given.
    Written = Callable[["Paper"], str]


_COLOURS = {
    Condition.UP: "32",
    Condition.DOWN: "1;31",
    Condition.UNKNOWN: "33",
    Condition.INACTIVE: "2",
}
_LEVELS = {"good": "32", "unsure": "33", "warn": "33", "bad": "1;31"}
# The alternate screen and a hidden cursor; home; to the end of line or screen, cleared.
_TAKE_SCREEN, _GIVE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _REST = "\x1b[H", "\x1b[K\n", "\x1b[K\x1b[J"
_HEADING = "2"
_HEADINGS = ("STATE", "KIND", "SOURCE", "ID", "NAME", "VERSION", "CLOCK", "PING", "REMARKS")


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """The terminal or file a report is written on.

    Attributes:
        colour: Whether it knows ANSI colours.
        width, height: Its columns and lines, `None` for as many as it takes.
    """

    colour: bool = False
    width: int | None = None
    height: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment.

    Attributes:
        answer: Whether it is well.
        problems: What is wrong by the alert table, the worst first.
        sources: Only those that are down or fail are named, with why.
        targets: Whatever their kind, the most urgent come first, and the last are left out where
            there is no room.
        runs: Those in flight, told by their phases.
    """

    answer: Headline
    sources: Sequence[SourceRow]
    targets: Sequence[TargetRow]
    runs: Sequence[RunRow] = ()
    problems: Sequence[Problem] = ()

    def text(self, paper: Paper) -> str:
        """Write the whole of it."""
        lines = [(self.answer.text, _LEVELS[self.answer.level])]
        if self.answer.details:
            lines.append((f"({', '.join(self.answer.details)})", ""))
        lines += ((line, "") for source in self.sources for line in _complaints(source))
        if self.runs:
            phases = Counter(run.phase for run in self.runs)
            told = ", ".join(f"{number} {_printable(phase)}" for phase, number in phases.items())
            lines.append((f"Runs in flight: {told}", ""))
        written = [_paint(_clipped(text, paper.width), code, paper) for text, code in lines]
        if self.targets:
            room = None if paper.height is None else max(1, paper.height - len(written) - 3)
            shown = sorted(self.targets, key=lambda row: URGENCY[row.state])[:room]
            written += ["", *_table(shown, paper)]
            if len(self.targets) > len(shown):
                written.append(f"and {count(len(self.targets) - len(shown), 'more target')}")
        return "\n".join(written) + "\n"


def _complaints(source: SourceRow) -> Iterable[str]:
    name = _printable(source.name)
    if source.auth_failed:
        yield f"{name}: the credentials were refused, calls are held back"
    elif source.blocked:
        yield f"{name}: calls are held back"
    if source.vendor_slow:
        yield f"{name}: the vendor is slow, its time-outs accuse no target"
    alike: dict[str, list[str]] = {}
    for task in source.tasks:
        failure = task.last_failure
        if task.failing and failure is not None:
            told = f"{failure.reason}: {_printable(failure.message)}"
            alike.setdefault(told, []).append(task.name)
    yield from (f"{name}: {', '.join(tasks)}: {told}" for told, tasks in alike.items())


def _table(rows: Sequence[TargetRow], paper: Paper) -> Iterable[str]:
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(_width(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    for number, line in enumerate(cells):
        padded = [
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ]
        text = _clipped("  ".join(padded).rstrip(), paper.width)
        # The first cell is the state; it is never so wide that it could be cut off.
        first = len(padded[0])
        code = _COLOURS[rows[number - 1].state] if number else _HEADING
        yield _paint(text[:first], code, paper) + text[first:]


def _cells(row: TargetRow) -> tuple[str, ...]:
    return (
        row.state,
        row.kind,
        _printable(row.source),
        _printable(row.id),
        _printable(row.name) if row.name != row.id else "",
        _printable(row.version or ""),
        signed(row.clock_delta_seconds),
        duration(row.ping_duration_seconds),
        ", ".join(_remarks(row)),
    )


def _remarks(row: TargetRow) -> Iterable[str]:
    if row.reason:
        yield row.reason
    if row.outdated:
        yield "outdated"
    yield from _own_remarks(row)


def _own_remarks(row: TargetRow) -> Iterable[str]:
    match row:
        case AgentRow():
            if row.busy:
                yield "busy"
            if row.managed:
                yield f"managed by the {_printable(row.managed)}"
        case RecorderRow(recording=True):
            yield "recording"
        case ClusterRow(state=Condition.INACTIVE):
            yield count(len(row.members), "member")
        # Of one that cannot be asked nobody knows the members.
        case ClusterRow(reason=None):
            up = sum(member.state is Condition.UP for member in row.members)
            yield f"{up} of {len(row.members)} members up"
        case LocationRow() if told := agents_up(row.agents_up, row.agents):
            yield told
        case SuiteRow():
            yield from _suite_remarks(row)
        case _:
            pass


def _suite_remarks(row: SuiteRow) -> Iterable[str]:
    if row.state is Condition.DOWN:
        yield word(row.state, row.kind)
    if row.running:
        yield "running"
    outcome, passed = row.last_run_outcome, row.last_run_passed
    if outcome is not None:
        yield f"last run {words(outcome)}"
    elif passed is not None:
        yield "last run passed" if passed else "last run failed"
    # Of an aborted run, say, that is not enough.
    if passed is False and outcome is not None and outcome.passed is None:
        yield "last verdict not passed"


def _paint(text: str, code: str, paper: Paper) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if paper.colour and code else text


def _clipped(text: str, width: int | None) -> str:
    """Cut off what does not fit into a line."""
    if width is None or _width(text) <= width:
        return text
    kept, columns = "", 0
    for character in text:
        columns += _width(character)
        if columns >= width:
            break
        kept += character
    return f"{kept}\N{HORIZONTAL ELLIPSIS}"


def _printable(text: str) -> str:
    """Replace what could steer the terminal; names come from the vendor."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _width(text: str) -> int:
    """Count the columns a text takes."""
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


@contextmanager
def showing(out: TextIO, *, colour: bool) -> Iterator[Callable[[Written], None]]:
    """Yield what shows a report in place of the one before it, for as long as the context lasts.

    On a terminal it takes the whole screen and gives it back in the end, with the last report
    below what was there before. Elsewhere it is written whenever it has become another.
    """
    last = ""

    def append(written: Written) -> None:
        nonlocal last
        text = written(Paper(colour=colour))
        if text != last:
            out.write(f"\n{text}" if last else text)
            out.flush()
            last = text

    def redraw(written: Written) -> None:
        nonlocal last
        size = shutil.get_terminal_size()
        last = written(Paper(colour=colour, width=size.columns, height=size.lines))
        # Line by line over what is there: a cleared screen would flicker.
        out.write(_HOME + last.removesuffix("\n").replace("\n", _LINE_END) + _REST)
        out.flush()

    if not out.isatty():
        yield append
        return
    out.write(_TAKE_SCREEN)
    try:
        yield redraw
    finally:
        out.write(_GIVE_SCREEN + last)
        out.flush()
