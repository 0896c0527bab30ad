"""Stores for the tests of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.state.hostclock import HostClock
from exporter.state.place import Place
from exporter.state.sqlite import SqliteState
from tests.support.clock import FakeClock
from tests.support.databases import closed_at_the_end


if TYPE_CHECKING:
    from pathlib import Path


def no_mounts() -> str:
    return ""


async def kept(folder: Path, clock: FakeClock | None = None) -> dict[str, bytes]:
    """Return the documents that the next process finds in a store."""
    state = sqlite(folder, clock)
    found = await state.documents("")
    await state.aclose()
    return {key: document.value for key, document in found.items()}


def entries(folder: Path) -> list[Path]:
    """Return all that is in a folder and below."""
    return list(folder.rglob("*"))


def host(clock: FakeClock | None = None, *, boot_id: str = "first") -> HostClock:
    """Make the clock of a host."""
    clock = clock or FakeClock()
    return HostClock(boottime=clock.clock.boottime, time=clock.clock.time, boot_id=boot_id)


def sqlite(
    folder: Path,
    clock: FakeClock | None = None,
    *,
    boot_id: str = "first",
    max_pages: int = 2**18,
    limit_seconds: float = 30.0,
) -> SqliteState:
    """Open a store; all that are opened with one clock are on one host."""
    state = SqliteState(
        Place(folder, mounts=no_mounts),
        host=host(clock, boot_id=boot_id),
        max_pages=max_pages,
        limit_seconds=limit_seconds,
    )
    closed_at_the_end(state._worker, state._database)
    return state
