"""Formats quantities as text for people, and ping times as a small line chart."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from exporter.clock import utc


if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.fleet.recent import Record


_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units, empty if it is unknown."""
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
    """Return how long ago something was, to the second."""
    whole = float(int(seconds))
    return f"{duration(whole)} ago" if whole > 0 else "just now"


def signed(seconds: float | None) -> str:
    """Return a difference of clocks with its sign, empty if it is unknown."""
    if seconds is None or math.isnan(seconds):
        return ""
    if seconds == 0:
        return "0 s"
    return ("+" if seconds > 0 else "\N{MINUS SIGN}") + duration(abs(seconds))


def instant(unix_seconds: float | None) -> str:
    """Return a time stamp in UTC, to the second, empty if it is unknown."""
    if unix_seconds is None:
        return ""
    return utc(unix_seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def stamp(unix_seconds: float) -> str:
    """Return a time stamp in RFC 3339, in UTC and to the second."""
    return utc(unix_seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def words(code: str | None) -> str:
    """Return one of our codes, such as a reason, with blanks in place of underscores."""
    return (code or "").replace("_", " ")


def size(octets: float | None) -> str:
    """Return a number of bytes in the largest unit that fits, empty if it is unknown."""
    if octets is None or math.isnan(octets):
        return ""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if octets < 1024 or unit == "TiB":
            break
        octets /= 1024
    return f"{octets:,.0f} {unit}" if octets >= 100 else f"{octets:.3g} {unit}"


def of_planned(there: float | None, planned: float | None) -> str:
    """Return an actual and a planned number, such as `3 of 5`, as far as they are known."""
    if there is None:
        return "" if planned is None else f"{planned:g} planned"
    return f"{there:g}" if planned is None else f"{there:g} of {planned:g}"


def times(value: float | None, usual: float | None) -> str:
    """Return the ratio of a value to its usual value, such as `1.5 times`, empty if unknown."""
    return f"{value / usual:.1f} times" if value is not None and usual else ""


def share(ratio: float | None) -> str:
    """Return a share, 0 to 1, in per cent, empty if it is unknown."""
    return "" if ratio is None else f"{ratio * 100:.3g} %"


def agents_up(up: float | None, agents: float | None) -> str:
    """Return how many of a location's agents are up; if that is unknown, how many it has."""
    if not agents:
        return "" if agents is None else "no agents"
    return count(int(agents), "agent") if up is None else f"{up:g} of {agents:g} agents up"


def listed(words: Sequence[str]) -> str:
    """Return some words as a list within a sentence, such as `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def count(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A line chart from the oldest reading on the left to the newest on the right.

    Attributes:
        line: The SVG path of the ping times, with gaps at readings without a ping.
        failures: The SVG path with a tick for each reading that found the target down.
        longest_seconds: The longest ping time, `None` if there is no ping time at all.
    """

    width: int
    height: int
    line: str
    failures: str
    longest_seconds: float | None


def trend(record: Record, *, width: int = 96, height: int = 20, readings: int = 24) -> Trend | None:
    """Return the line chart of a target's newest readings, `None` if there are none.

    The scale begins at 0, so that small changes do not look large.
    """
    entries = list(islice(record.readings(), readings))
    if not entries:
        return None
    known = [entry.duration_seconds for entry in entries if entry.duration_seconds is not None]
    longest = max(known, default=None)
    # Leave room for the line's width at both ends, and some space above the longest ping.
    scale = 0.8 * (height - 4) / longest if longest else 0.0
    step = (width - 4) / max(1, readings - 1)
    line, failures, pen = [], [], "M"
    for position, entry in enumerate(entries):
        x = round(width - 2 - position * step)
        if entry.duration_seconds is None:
            pen = "M"
        else:
            y = round(height - 2 - entry.duration_seconds * scale)
            # A line of length 0 shows a single reading as a dot.
            line.append(f"M{x} {y}h0" if pen == "M" else f"L{x} {y}")
            pen = "L"
        if entry.up is False:
            failures.append(f"M{x} 0v{height}")
    return Trend(
        width=width,
        height=height,
        line="".join(line),
        failures="".join(failures),
        longest_seconds=longest,
    )
