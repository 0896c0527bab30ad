"""Text output: aligned tables, coloured on a terminal, plain in a pipe."""

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

    #: Returns a report as text for the given paper.
    Written = Callable[["Paper"], str]

    #: A text and its ANSI colour code; empty for no colour.
    Cell = tuple[str, str]


# Escape sequences: switch to the alternate screen and hide the cursor, and back; cursor home; clear
# to the end of the line or of the screen.
_TAKE_SCREEN, _GIVE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _REST = "\x1b[H", "\x1b[K\n", "\x1b[K\x1b[J"
_HEADING = "2"

# A last column that would be narrower than 20 characters is written below the others, indented.
_LEAST_COLUMNS, _INDENT = 20, 4


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """The terminal or file for a report.

    Attributes:
        colour: Whether to write ANSI colours.
        width, height: Columns and lines; `None` for no limit.
    """

    colour: bool = False
    width: int | None = None
    height: int | None = None

    @classmethod
    def of_output(cls, *, colour: bool) -> Paper:
        """Return stdout with its width and without a limit of lines."""
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        return cls(colour=colour, width=width)


def add_colour(parser: argparse.ArgumentParser) -> None:
    """Declare `--color`."""
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
    """Yield the lines of a table, none wider than the paper.

    Args:
        headings: The headings of the columns.
        rows: The rows, each with a cell per column.
        paper: The output.
        wraps: Whether to wrap a long text in the last column instead of cutting it off.
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
    """Yield the lines of a text, wrapped to the width of the paper."""
    for line in wrapped(text, paper.width):
        yield _paint(_clipped(line, paper.width), code, paper)


def wrapped(text: str, width: int | None) -> list[str]:
    """Return the lines of a text, wrapped between words. A word wider than a line stays whole."""
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
    """Cut a text at the width of a line, ending with an ellipsis."""
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
    """Return a text without control characters, since names come from the vendor."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _width(text: str) -> int:
    """Return the number of columns of a text."""
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
    """Yield a function that shows a report in place of the previous one.

    On a terminal the reports fill the alternate screen. When the context ends, the normal screen
    returns and the last report is written there. Elsewhere a report is written when it differs
    from the previous one.
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
        # Overwrite line by line, because clearing the screen would flicker.
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
