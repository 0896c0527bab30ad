"""Quantities as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence


_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float | None) -> str:
    """Write a duration in its two largest units, or nothing where it is unknown."""
    if seconds is None or math.isnan(seconds):
        return ""
    if math.isinf(seconds):
        return "unlimited"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = int(max(0.0, seconds))
    for size, unit, next_size, next_unit in _UNITS:
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {unit}" + (f" {rest} {next_unit}" if rest else "")
    return f"{whole} s"


def ago(seconds: float) -> str:
    """Write how long ago something was, to the second."""
    whole = float(int(seconds))
    return f"{duration(whole)} ago" if whole > 0 else "just now"


def signed(seconds: float | None) -> str:
    """Write a difference of clocks with its sign, or nothing where it is unknown."""
    if seconds is None or math.isnan(seconds):
        return ""
    if seconds == 0:
        return "0 s"
    return ("+" if seconds > 0 else "\N{MINUS SIGN}") + duration(abs(seconds))


def instant(unix_seconds: float) -> str:
    """Write a time stamp in UTC, to the second."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def words(code: str | None) -> str:
    """Write one of our codes, such as a reason, as people read it."""
    return (code or "").replace("_", " ")


def listed(words: Sequence[str]) -> str:
    """Write some words as a list within a sentence."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def count(number: int, noun: str) -> str:
    """Write a number with its noun in the right form."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
