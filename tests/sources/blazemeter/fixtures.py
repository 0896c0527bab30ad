"""The recorded and built replies, as bytes and as values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from exporter.sources.decode import decode


FOLDER = Path(__file__).parents[2] / "fixtures" / "blazemeter"

#: The time all invented fixtures are built around, epoch seconds.
BASE = 1_760_000_000.0

T = TypeVar("T")


def body(name: str) -> bytes:
    """Return a fixture as it would come over the wire."""
    return (FOLDER / f"{name}.json").read_bytes()


def document(name: str) -> Any:
    """Return a fixture as plain data, to be changed at will."""
    return json.loads(body(name))


def reply(name: str, type_: type[T]) -> T:
    """Return a fixture decoded; a surprise is an error."""

    def no_surprise(kind: str) -> None:
        raise AssertionError(f"surprised by {name}: {kind}")

    return decode(body(name), type_, operation=name, surprise=no_surprise)
