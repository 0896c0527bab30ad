"""Long work on the event loop, done in slices so that a large fleet holds nobody up."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from exporter.cooperative import in_turns


if TYPE_CHECKING:
    from collections.abc import Iterable


T = TypeVar("T")

#: Steps of at most some 20 µs each between two turns of everybody else.
SLICE = 200


async def in_slices(steps: Iterable[T]) -> list[T]:
    """Run an iterator to its end, letting others run after every `SLICE` steps."""
    return [step async for step in in_turns(steps, turn=SLICE)]
