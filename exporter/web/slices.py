"""Long work on the event loop, done in slices so that a large fleet holds nobody up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar


if TYPE_CHECKING:
    from collections.abc import Iterable


T = TypeVar("T")

#: Steps of at most some 20 µs each between two turns of everybody else.
SLICE = 200


async def in_slices(steps: Iterable[T]) -> list[T]:
    """Run an iterator to its end, letting others run after every `SLICE` steps."""
    done = []
    for step in steps:
        done.append(step)
        if len(done) % SLICE == 0:
            await asyncio.sleep(0)
    return done
