"""Killed in the middle of writes: the store opens, is whole, and has all that was acknowledged."""

from __future__ import annotations

import signal
from random import Random
from typing import TYPE_CHECKING

import pytest

from exporter.state import upkeep
from exporter.state.place import Place
from tests.state.stores import host, kept, no_mounts
from tests.state.test_processes import writer
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("turn", range(10))
async def test_killed_in_the_middle_of_writes(tmp_path: Path, turn: int) -> None:
    """Documents reported as written must be there after a kill, and other processes go on."""
    chance = Random()  # noqa: S311 - another moment each time
    lines = chance.randrange(1, 400)
    async with writer(tmp_path, "victim", 0) as victim, writer(tmp_path, "other", 0) as other:
        await until(lambda: victim.output.count("\n") >= lines)
        await victim.stop(signal.SIGKILL)
        seen = other.output.count("\n")
        await until(lambda: other.output.count("\n") > seen + 5)
        if turn % 2:
            await other.stop(signal.SIGKILL)

    report = upkeep.check(Place(tmp_path / "state", mounts=no_mounts), host())
    found = await kept(tmp_path / "state")
    assert len(found) == report.documents
    for process, name in ((victim, "victim"), (other, "other")):
        # The last line may be incomplete.
        for line in process.output.splitlines()[:-1]:
            number, count, backend = line.split()
            assert "sqlite" == backend
            assert count * 100 == found[f"{name}/{number}"].decode()
    assert [] == list((tmp_path / "state").glob("*.damaged-*"))
