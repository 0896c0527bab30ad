"""Labels and numbers, written exactly as prometheus-client writes them.

With Python's `repr` of floats, rendering would spend most of its time on numbers. msgspec's encoder
writes the same digits several times faster for a whole column. Only numbers whose notation differs
(with exponents, or infinite) are written one by one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_encode = msgspec.json.Encoder().encode

# Between these bounds Python's, Go's and JSON's notation of a float are the same.
_SMALLEST = 1e-4
_LARGEST = 1e6
# From this number on Python's `repr` has an exponent.
_PYTHON_EXPONENT = 1e16


def label_block(labels: Mapping[str, str]) -> str:
    """Return the part of a line between name and value: the sorted labels and a space."""
    if not labels:
        return " "
    inner = ",".join([f'{name}="{_escape(labels[name])}"' for name in sorted(labels)])
    return f"{{{inner}}} "


def encode_numbers(values: Sequence[float | bool | None]) -> bytes:
    """Return a column as JSON, for `number_texts` and for comparison with an earlier column.

    Absent and infinite numbers and NaN all become `null`. If the JSON of two columns has no `null`,
    the columns are equal exactly if their JSON is.
    """
    return _encode(values)


def number_texts(values: Sequence[float | None], encoded: bytes) -> list[str | None]:
    """Return the numbers of a column as texts, with `None` for absent numbers and NaN."""
    if encoded.count(b".") == len(values):
        # Every value has a decimal point: all are finite floats, and none is an integer.
        return _write(values, encoded)  # type: ignore[arg-type]  # absent ones have no point
    # Only NaN differs from itself.
    known = [float(v) for v in values if v is not None and v == v]  # noqa: PLR0124
    written = iter(_write(known, _encode(known)))
    return [
        next(written) if v is not None and v == v else None  # noqa: PLR0124
        for v in values
    ]


def _write(values: Sequence[float], encoded: bytes) -> list[str | None]:
    if not values:
        return []
    written = encoded[1:-1].decode()
    smallest, largest = min(values), max(values)
    if smallest > -_LARGEST and largest < _LARGEST and not _may_be_tiny(encoded):
        return written.split(",")  # type: ignore[return-value]  # none is absent
    if smallest >= _LARGEST and largest < _PYTHON_EXPONENT:
        shortest, longest = str(int(smallest)), str(int(largest))
        if len(shortest) == len(longest):
            # Time stamps and sizes usually all have the same number of digits before the point.
            exponent = f"e+{len(longest) - 1:02d}"
            alike = shortest[0] == longest[0]
            return _scientific(written.replace(".", ""), exponent, alike=alike)
    return [
        text
        if _SMALLEST <= value < _LARGEST or -_LARGEST < value <= -_SMALLEST or not value
        else _write_one(value, text)
        for value, text in zip(values, written.split(","), strict=True)
    ]


def _scientific(digits: str, exponent: str, *, alike: bool) -> list[str | None]:
    """Return numbers in scientific notation.

    Args:
        digits: The digits of all numbers, separated by commas, without points.
        exponent: The text of the exponent.
        alike: Whether all numbers begin with the same digit, as present time stamps do.
    """
    # The encoder ends a number with a zero only if it is whole.
    if alike and "0," not in digits and digits[-1] != "0":
        first = digits[0]
        rest = digits[1:].replace(f",{first}", f"{exponent},{first}.")
        return f"{first}.{rest}{exponent}".split(",")  # type: ignore[return-value]  # none is absent
    return [
        f"{each[0]}.{each[1:]}{exponent}"
        if each[-1] != "0"
        else f"{each[0]}.{each[1:]}".rstrip("0.") + exponent
        for each in digits.split(",")
    ]


def _may_be_tiny(encoded: bytes) -> bool:
    """Return whether a column may have a number so near to 0 that the notations differ."""
    return b"e" in encoded or b"0.0000" in encoded


def _write_one(value: float, text: str) -> str:
    if _LARGEST <= value < _PYTHON_EXPONENT:
        # Go switches to an exponent sooner than Python.
        point = text.index(".")
        digits = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0.")
        return f"{digits}e+{point - 1:02d}"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _escape(value: str) -> str:
    if not value.isascii():
        # A lone surrogate cannot be encoded and would make the whole page fail.
        value = value.encode("utf-8", "replace").decode()
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
