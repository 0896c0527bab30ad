"""Processes that share a folder, one of which is killed."""

from __future__ import annotations

import signal
import sqlite3
import sys
from contextlib import closing
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.history.feed import DAY, Feed, place
from tests.support.clock import FakeClock
from tests.support.processes import running
from tests.support.wait import until


if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.support.processes import Process


UNIX = 1_700_000_000.0


def writer(tmp_path: Path, name: str, unix: float = UNIX) -> AbstractAsyncContextManager[Process]:
    command = (sys.executable, "-m", "tests.history.writer", tmp_path / "state", str(unix))
    return running(*command, folder=tmp_path, name=name)


def written(process: Process) -> int:
    """Return how many polls a process has said to be in the file; its last line may be a part."""
    lines = process.output.split("\n")[:-1]
    return max((int(line.split()[1]) for line in lines if line.startswith("writer")), default=0)


@pytest.mark.parametrize("turn", range(3))
async def test_killed_in_the_middle_of_writes(tmp_path: Path, turn: int) -> None:
    """The file opens, is whole, and lacks the newest batch at most."""
    lines = Random().randrange(1, 200)  # noqa: S311 - another moment each time
    async with writer(tmp_path, "victim") as victim:
        await until(lambda: written(victim) >= lines)
        await victim.stop(signal.SIGKILL)
        told = written(victim)

    feed = await Feed(tmp_path / "state", FakeClock(unix=UNIX + 2 * DAY)).begin()

    assert sum(await feed.readings()) in {told, told + 1}
    conditions = await feed.conditions()
    assert all(one != other for one, other in pairwise(conditions))
    assert told // 10 * 2 <= len(conditions) <= (told + 1) // 10 * 2 + 1
    await feed.history.aclose()
    with closing(sqlite3.connect(place(tmp_path / "state").file)) as connection:
        assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()
    assert [] == place(tmp_path / "state").damaged()


async def test_one_of_two_writes_and_the_other_follows(tmp_path: Path) -> None:
    """Only the first counts; when it is killed the second one does."""
    async with writer(tmp_path, "first") as first:
        await until(lambda: written(first) >= 5)
        async with writer(tmp_path, "second", UNIX + 15 * DAY) as second:
            await until(lambda: second.output.count("reader") >= 5)
            alone = written(second)
            await first.stop(signal.SIGKILL)
            await until(lambda: written(second) > 0)
            await second.stop(signal.SIGKILL)
            # Its count begins after the batch with which it became the writer.
            told = written(second) - second.output.count("reader") - 1

    later = await Feed(tmp_path / "state", FakeClock(unix=UNIX + 25 * DAY)).begin()
    found = await later.of()
    await later.history.aclose()

    assert 0 == alone
    assert found is not None
    by_second = [hour for hour in found.hours if hour.begin_timestamp_seconds > UNIX + 14 * DAY]
    assert sum(hour.readings_up + hour.readings_down for hour in by_second) in {told, told + 1}
