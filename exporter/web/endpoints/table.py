"""Rows as CSV (RFC 4180), for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import msgspec


MEDIA_TYPE = "text/csv"

#: Fields that are mappings, with the prefix of their keys' columns.
_MAPPINGS = {"labels": "label_", "annotations": ""}

#: Lists whose items are shown as words; of other lists, the cell shows the length.
_WORDS = frozenset({"problems"})

# A spreadsheet takes a cell that starts with one of these characters as a formula, also if quoted.
# The last four are full-width forms.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def table(
    types: Iterable[type[msgspec.Struct]], rows: Iterable[Any], keys: Mapping[str, Sequence[str]]
) -> bytes:
    """Return rows as CSV in UTF-8, with a header.

    Args:
        types: The types of the rows, whose fields are the columns, whatever rows there are.
        rows: The rows.
        keys: The keys of each field that is a mapping; each key is a column.
    """
    fields = tuple(dict.fromkeys(field for each in types for field in each.__struct_fields__))
    header: list[str] = []
    for field in fields:
        if field in _MAPPINGS:
            header += [_MAPPINGS[field] + key for key in keys[field]]
        else:
            header.append(field)
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(map(_harmless, header))
    for row in rows:
        cells: list[object] = []
        for field in fields:
            value: Any = getattr(row, field, None)
            if field in _MAPPINGS:
                cells += [_cell(field, value.get(key)) for key in keys[field]]
            else:
                cells.append(_cell(field, value))
        writer.writerow(cells)
    return written.getvalue().encode("utf-8", "replace")


def mapping_keys(types: Iterable[type[msgspec.Struct]], rows: Sequence[Any]) -> dict[str, set[str]]:
    """Return the keys of each field that is a mapping, over all rows."""
    fields = {field for each in types for field in each.__struct_fields__} & _MAPPINGS.keys()
    return {field: {key for row in rows for key in getattr(row, field)} for field in fields}


def _cell(field: str, value: object) -> object:
    found: object = "" if value is None else value
    match value:
        case bool():
            found = str(value).lower()
        case float():
            found = _number(value)
        case str():
            found = _harmless(value)
        case tuple():
            found = _harmless(" ".join(value)) if field in _WORDS else len(value)
    return found


def _number(value: float) -> object:
    if math.isnan(value):
        return ""
    if math.isinf(value):
        # A spreadsheet would take a text that starts with a sign as a formula.
        return "Inf" if value > 0 else _harmless("-Inf")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _harmless(text: str) -> str:
    """Return a text with an apostrophe in front if a spreadsheet would take it as a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
