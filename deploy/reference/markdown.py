"""Tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    Raises:
        LookupError: The table has no rows, so its name or arguments must be wrong.
    """
    body = [_line(row) for row in rows]
    if not body:
        raise LookupError(f"nothing to list under {', '.join(header)}")
    return "".join([_line(header), _line(["---"] * len(header)), *body])


def code(text: object) -> str:
    """Return a text as inline code; an empty text stays empty."""
    return f"`{text}`" if text != "" else ""


def _line(cells: Sequence[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"
