"""Ping times as a small line, drawn as the path of an inline SVG."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import msgspec


if TYPE_CHECKING:
    from exporter.fleet.history import Record


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A line from the oldest reading on the left to the newest on the right.

    Attributes:
        line: The path of the ping times; it has a gap where there was none.
        failures: The path of a tick for each reading that found the target down.
        longest_seconds: What stands at the top, `None` if there is no ping time at all.
    """

    width: int
    height: int
    line: str
    failures: str
    longest_seconds: float | None


def trend(record: Record, *, width: int = 96, height: int = 20, readings: int = 24) -> Trend | None:
    """Draw the newest readings of a target; `None` if it has none.

    The scale begins at 0, so that a flat line means what it says.
    """
    entries = list(islice(record.readings(), readings))
    if not entries:
        return None
    known = [entry.duration_seconds for entry in entries if entry.duration_seconds is not None]
    longest = max(known, default=None)
    # Room for the line's own width at both ends, and some air above the longest.
    scale = 0.8 * (height - 4) / longest if longest else 0.0
    step = (width - 4) / max(1, readings - 1)
    line, failures, pen = [], [], "M"
    for place, entry in enumerate(entries):
        x = round(width - 2 - place * step)
        if entry.duration_seconds is None:
            pen = "M"
        else:
            y = round(height - 2 - entry.duration_seconds * scale)
            # A line of no length makes a single reading a dot.
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
