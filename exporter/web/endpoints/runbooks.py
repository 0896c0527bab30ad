"""The runbooks of the installed version, parsed for a page.

The parser supports the Markdown of the runbooks: headings, paragraphs, lists, blocks of code, and
code and links within a line. The template gets all parts as text, so that a runbook cannot contain
HTML.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.alerts.rule import PREFIX
from exporter.config.words import closest


if TYPE_CHECKING:
    from collections.abc import Iterator


SUFFIX = ".md"

#: The folder of the runbooks in an installed package, and in a checkout.
_FOLDERS = (
    Path(__file__).parents[1] / "runbooks",
    Path(__file__).parents[3] / "deploy" / "runbooks",
)

_CODE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`|\[([^\]]+)\]\(([^)\s]+)\)")
_ITEM = re.compile(r"^- ", re.MULTILINE)


class Span(msgspec.Struct, frozen=True):
    """A part of a line: plain text, code, or a link if it has an address."""

    text: str
    code: bool = False
    address: str = ""


class Block(msgspec.Struct, frozen=True):
    """A part of a page.

    Attributes:
        lines: The items of a list; one line for any other kind.
    """

    kind: Literal["title", "heading", "paragraph", "list", "code"]
    lines: tuple[tuple[Span, ...], ...]


class Runbooks:
    """All runbooks, by the names of their alerts."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read the runbooks.

        Args:
            folder: The folder of the runbooks, if not the installed one.
        """
        folder = folder or next(filter(Path.is_dir, _FOLDERS), _FOLDERS[0])
        found = sorted(folder.glob(f"*{SUFFIX}"))
        self._texts = {path.stem: path.read_text(encoding="utf-8") for path in found}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the alerts that have a runbook."""
        return tuple(self._texts)

    def blocks(self, name: str) -> tuple[Block, ...]:
        """Return the parts of an alert's runbook.

        Args:
            name: The name of the alert, with or without the suffix of the file.

        Raises:
            KeyError: The alert has no runbook.
        """
        return tuple(_blocks(self._texts[name.removesuffix(SUFFIX)]))

    def nearest(self, name: str) -> str:
        """Return the alert with the most similar name, empty if no name is similar."""
        return closest(name.removesuffix(SUFFIX), self._texts, prefix=PREFIX)


def _blocks(text: str) -> Iterator[Block]:
    """Yield the parts of a page; every second piece of the split text is code."""
    for number, piece in enumerate(_CODE.split(text)):
        if number % 2:
            yield Block("code", ((Span(piece.rstrip("\n"), code=True),),))
            continue
        for chunk in filter(None, map(str.strip, re.split(r"\n\s*\n", piece))):
            if chunk.startswith("## "):
                yield Block("heading", (_spans(chunk[3:]),))
            elif chunk.startswith("# "):
                yield Block("title", (_spans(chunk[2:]),))
            elif chunk.startswith("- "):
                yield Block("list", tuple(map(_spans, _ITEM.split(chunk)[1:])))
            else:
                yield Block("paragraph", (_spans(chunk),))


def _spans(text: str) -> tuple[Span, ...]:
    """Return the plain text, code and links of a line, which may be wrapped in the file."""
    line, end, found = " ".join(text.split()), 0, []
    for match in _SPAN.finditer(line):
        code, label, address = match.groups()
        found.append(Span(line[end : match.start()]))
        found.append(Span(code, code=True) if code else Span(label, address=address))
        end = match.end()
    return tuple(span for span in (*found, Span(line[end:])) if span.text)
