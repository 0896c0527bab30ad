from __future__ import annotations

import asyncio
import gc
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from exporter import process


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Give the garbage collector of the tests its settings back."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_the_faster_loop_is_used_where_it_is_installed() -> None:
    """The extra `speed` must have an effect."""
    loops: list[str] = []

    async def main() -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    process.run(main())

    expected = "uvloop" if find_spec("uvloop") else "asyncio.unix_events"
    assert [expected] == loops


def test_what_was_imported_is_not_looked_through_for_garbage() -> None:
    """Collections must not walk what stays as long as the process."""
    frozen: list[int] = []

    async def main() -> None:
        frozen.append(gc.get_freeze_count())

    process.run(main())

    assert frozen[0] > 10_000


def test_garbage_is_looked_for_more_rarely() -> None:
    """Thousands of readings that all stay must not set off a collection every few calls."""
    thresholds: list[int] = []

    async def main() -> None:
        thresholds.append(gc.get_threshold()[0])

    process.run(main())

    assert [process.YOUNG_OBJECTS] == thresholds
