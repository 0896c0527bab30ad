"""Rows as CSV (RFC 4180) for spreadsheets and scripts, one line each."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import msgspec


MEDIA_TYPE = "text/csv"

#: Fields with a mapping, and what the names of its keys' columns begin with.
_MAPPINGS = {"labels": "label_", "annotations": ""}

#: Fields with words. Of any other list the number of its parts is told.
_WORDS = frozenset({"problems"})

# Spreadsheets take a cell for a formula that begins with one of these, whatever quotes it has. The
# last four are the same signs in full width.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def table(
    types: Iterable[type[msgspec.Struct]], rows: Iterable[Any], keys: Mapping[str, Sequence[str]]
) -> bytes:
    """Return rows as CSV in UTF-8, with a header.

    Args:
        types: Those of the rows; their fields are the columns, so that these do not depend on
            which rows there are.
        rows: The rows.
        keys: The keys of each field with a mapping; each is a column.
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
    """Return the keys of each field with a mapping, over all rows."""
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
        # With a sign in front a spreadsheet would take it for a formula.
        return "Inf" if value > 0 else _harmless("-Inf")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _harmless(text: str) -> str:
    """Write an apostrophe before what a spreadsheet would calculate."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
