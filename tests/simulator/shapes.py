"""Comparing the shapes of JSON values: same keys and types at every level, whatever the values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


_FIXTURES = Path(__file__).parents[1] / "fixtures"


def fixture(provider: str, name: str) -> Any:
    """Load a fixture."""
    return json.loads((_FIXTURES / provider / f"{name}.json").read_text())


def differences(actual: Any, *wanted: Any, at: str = "$") -> list[str]:
    """List the places where a value has the shape of no example; empty means that it fits.

    Null fits everything, and the items of a list must each look like some item of the examples.
    """
    found = [_difference(actual, example, at) for example in wanted]
    return [] if any(not one for one in found) else min(found, key=len, default=[at])


def _difference(actual: Any, wanted: Any, at: str) -> list[str]:
    if actual is None or wanted is None:
        return []
    if isinstance(actual, dict) and isinstance(wanted, dict):
        if actual.keys() != wanted.keys():
            return [f"{at}: {sorted(actual.keys() ^ wanted.keys())}"]
        return [
            problem
            for key in actual
            for problem in _difference(actual[key], wanted[key], f"{at}.{key}")
        ]
    if isinstance(actual, list) and isinstance(wanted, list):
        if not wanted:
            return []
        return [
            problem
            for index, item in enumerate(actual)
            for problem in differences(item, *wanted, at=f"{at}[{index}]")
        ]
    numbers = (int, float)
    alike = type(actual) is type(wanted) or (type(actual) in numbers and type(wanted) in numbers)
    return [] if alike else [f"{at}: {type(actual).__name__}"]
