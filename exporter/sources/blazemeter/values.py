"""Numbers of BlazeMeter's replies, taken only where they can mean something."""

from __future__ import annotations

from exporter.sources.decode import finite


# Year 5138 in seconds; what is larger was given in milliseconds or is no time at all.
_LATEST = 1e11


def epoch(value: float | None) -> float | None:
    """Return a time stamp in epoch seconds; 0 and below mean that there is none."""
    number = finite(value)
    return number if number is not None and 0 < number < _LATEST else None


def ratio(percent: float | None) -> float | None:
    """Return a share of 0 to 1 from a percentage."""
    number = finite(percent)
    return number / 100 if number is not None and 0 <= number <= 100 else None
