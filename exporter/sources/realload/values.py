"""The API's ways of writing a value, each read in one place into base units.

`-1` means "no data" or "unlimited", by field; which of the two is decided by the function a field
is read with. Where a value cannot be, `None` is returned.
"""

from __future__ import annotations

import math
import re

import msgspec

from exporter.sources.decode import finite


_MEMORY = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGT]?)i?B\s*", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def measured(value: float | None) -> float | None:
    """Return a quantity, for which anything below 0 means that there is no data."""
    number = finite(value)
    return number if number is not None and number >= 0 else None


def limit(value: float | None) -> float | None:
    """Return a limit, for which -1 means unlimited."""
    return math.inf if value == -1 else measured(value)


def seconds(milliseconds: float | None) -> float | None:
    """Return a duration or a point of time in seconds."""
    number = measured(milliseconds)
    return None if number is None else number / 1000


def signed_seconds(milliseconds: float | None) -> float | None:
    """Return a difference in seconds, for which -1 is a measurement like any other."""
    number = finite(milliseconds)
    return None if number is None else number / 1000


def megabytes(value: float | None) -> float | None:
    """Return a number of MB in bytes."""
    number = measured(value)
    return None if number is None else finite(number * 1024**2)


def parse_memory_size(text: str | None) -> float | None:
    """Return a size such as `2048 MB` in bytes."""
    match = _MEMORY.fullmatch(text or "")
    return None if match is None else float(match[1]) * 1024 ** _POWERS[match[2].upper()]


def flag(value: float | None) -> bool | None:
    """Return a flag, which the API prints as a boolean and as a number."""
    return None if value is None else bool(value)


def words(value: int | str | None) -> str:
    """Return what only describes, empty if there is nothing."""
    return "" if value is None else str(value)


def secret_text(secret: msgspec.Raw) -> str | None:
    """Return a secret's text; `None` if the key is absent or holds no text."""
    try:
        return msgspec.json.decode(secret, type=str)
    except (ValueError, RecursionError):
        return None


def protected(secret: msgspec.Raw) -> bool | None:
    """Return whether there is a token, masked or not; `None` if the vendor does not say."""
    token = secret_text(secret)
    return None if token is None else bool(token)


def address(host: str | None, port: int | str | None) -> str:
    """Return the `host:port` by which controllers are known."""
    name = host or ""
    return f"[{name}]:{words(port)}" if ":" in name else f"{name}:{words(port)}"
