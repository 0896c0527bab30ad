"""A terminal: what is written on it is aligned, coloured for people, plain for pipes."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import msgspec


if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    #: Writes a report on the paper it is given.
    Written = Callable[["Paper"], str]

    #: A text and the code of its colour, empty for none.
    Cell = tuple[str, str]


# The alternate screen and a hidden cursor; home; to the end of line or screen, cleared.
_TAKE_SCREEN, _GIVE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _REST = "\x1b[H", "\x1b[K\n", "\x1b[K\x1b[J"
_HEADING = "2"

# A last column that would be narrower than this is written below the others, indented.
_LEAST_COLUMNS, _INDENT = 20, 4


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """The terminal or file a report is written on.

    Attributes:
        colour: Whether it knows ANSI colours.
        width, height: Its columns and lines, `None` for as many as it takes.
    """

    colour: bool = False
    width: int | None = None
    height: int | None = None

    @classmethod
    def of_output(cls, *, colour: bool) -> Paper:
        """Return stdout, as long as it takes."""
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        return cls(colour=colour, width=width)


def add_colour(parser: argparse.ArgumentParser) -> None:
    """Take whether to write in colour."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless $NO_COLOR is set",
    )


def has_colour(wanted: str, environ: Mapping[str, str]) -> bool:
    """Return whether to write in colour on stdout."""
    if wanted != "auto":
        return wanted == "always"
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def table(
    headings: Sequence[str], rows: Iterable[Sequence[Cell]], paper: Paper, *, wraps: bool = False
) -> Iterator[str]:
    """Yield the lines of a table, each no longer than the paper is wide.

    Args:
        headings: Those of the columns.
        rows: As many cells each.
        paper: It is written on.
        wraps: Whether what has no room in the last column goes on below instead of being cut off.
    """
    lines = [[(heading, _HEADING) for heading in headings], *map(list, rows)]
    widths = [max(_width(line[column][0]) for line in lines) for column in range(len(headings))]
    start = sum(widths[:-1]) + 2 * (len(widths) - 1)
    below = wraps and paper.width is not None and paper.width - start < _LEAST_COLUMNS
    start = _INDENT if below else start
    for line in lines:
        text, code = line[-1]
        parts = wrapped(text, paper.width - start) if wraps and paper.width is not None else [text]
        first, *more = ["", *parts] if below else parts
        yield _joined([*line[:-1], (first, code)], widths, paper)
        yield from (_clipped(" " * start + part, paper.width) for part in more)


def sentence(text: str, code: str, paper: Paper) -> Iterator[str]:
    """Yield the lines of a text that is not cut off."""
    for line in wrapped(text, paper.width):
        yield _paint(_clipped(line, paper.width), code, paper)


def wrapped(text: str, width: int | None) -> list[str]:
    """Part a text between words; one that is wider than a line stays whole."""
    if width is None:
        return [text]
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if _width(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _joined(line: Sequence[Cell], widths: Sequence[int], paper: Paper) -> str:
    padded = [
        (text + " " * (width - _width(text)), code)
        for (text, code), width in zip(line, widths, strict=True)
    ]
    whole = _clipped("  ".join(text for text, _ in padded).rstrip(), paper.width)
    written, at = "", 0
    for text, code in padded:
        written += _paint(whole[at : at + len(text)], code, paper)
        at += len(text) + 2
        written += whole[at - 2 : at]
    return written


def _paint(text: str, code: str, paper: Paper) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if paper.colour and code and text else text


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


def printable(text: str) -> str:
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
        out.write(_HOME + _LINE_END.join(last.splitlines()[: size.lines]) + _REST)
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
