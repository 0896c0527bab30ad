"""The fleet as a table in a terminal: aligned, coloured for people, plain for pipes."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from exporter.web.rows import AgentRow, ClusterRow, Condition, RecorderRow, SuiteRow
from exporter.web.text import duration, signed


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter.web.fleet import Headline, SourceRow
    from exporter.web.rows import TargetRow


_COLOURS = {
    Condition.UP: "32",
    Condition.DOWN: "1;31",
    Condition.UNKNOWN: "33",
    Condition.INACTIVE: "2",
}
_LEVELS = {"good": "32", "unsure": "33", "bad": "1;31"}
_HEADINGS = ("STATE", "KIND", "SOURCE", "ID", "NAME", "VERSION", "CLOCK", "PING", "REMARKS")


def report(
    answer: Headline,
    sources: Sequence[SourceRow],
    rows: Sequence[TargetRow],
    *,
    colour: bool,
) -> str:
    """Write the whole of `status`.

    Args:
        answer: Whether the fleet is well.
        sources: Only those that are not up are named, with why.
        rows: The targets, in the order to be shown.
        colour: Whether the terminal knows ANSI colours.
    """
    lines = [_paint(answer.text, _LEVELS[answer.level], wanted=colour)]
    if answer.details:
        lines.append(f"({', '.join(answer.details)})")
    lines += [
        f"{source.name}: {task.name}: {task.last_failure.reason}:"
        f" {_printable(task.last_failure.message)}"
        for source in sources
        for task in source.tasks
        if task.failing and task.last_failure
    ]
    if rows:
        lines += ["", *_table(rows, colour=colour)]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[TargetRow], *, colour: bool) -> Iterable[str]:
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(_width(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    for number, line in enumerate(cells):
        padded = [
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ]
        if number:
            padded[0] = _paint(padded[0], _COLOURS[rows[number - 1].state], wanted=colour)
        yield "  ".join(padded).rstrip()


def _cells(row: TargetRow) -> tuple[str, ...]:
    return (
        row.state,
        row.kind,
        _printable(row.source),
        _printable(row.id),
        _printable(row.name),
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
        case AgentRow(busy=True):
            yield "busy"
        case RecorderRow(recording=True):
            yield "recording"
        case ClusterRow():
            up = sum(member.state is Condition.UP for member in row.members)
            yield f"{up} of {len(row.members)} members up"
        case SuiteRow():
            if row.running:
                yield "running"
            if row.last_run_passed is not None:
                yield "last run passed" if row.last_run_passed else "last run failed"
        case _:
            pass


def _paint(text: str, code: str, *, wanted: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if wanted else text


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
