"""Versions are compared number by number, since as text 4.8.9 would follow 4.8.24."""

from __future__ import annotations

import re


# Longer versions are nobody's; the bound keeps hostile input cheap.
_VERSION = re.compile(r"[vV]?([0-9]{1,18}(?:\.[0-9]{1,18}){0,15})(?:[-+._ ]?[A-Za-z].*|[-+_ ].*)?")


def older(version: str, minimum: str) -> bool | None:
    """Tell whether a version is older than another, `None` if either cannot be read.

    Missing parts count as 0 (4.8 equals 4.8.0) and whatever follows the numbers is ignored
    (4.8.9-beta equals 4.8.9): a suffix has no order that all vendors share.
    """
    left, right = _numbers(version), _numbers(minimum)
    if left is None or right is None:
        return None
    return left < right


def _numbers(version: str) -> tuple[int, ...] | None:
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
