"""Processes that share a store: no document is lost, and no process hinders the others."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from tests.state.stores import kept
from tests.support.processes import running
from tests.support.wait import until


if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.support.processes import Process


def writer(
    tmp_path: Path, name: str, times: int, *flags: str
) -> AbstractAsyncContextManager[Process]:
    command = (sys.executable, "-m", "tests.state.writer", tmp_path / "state", name, str(times))
    return running(*command, *flags, folder=tmp_path, name=name)


def backends(process: Process) -> set[str]:
    return {line.split()[2] for line in process.output.splitlines()}


async def count(tmp_path: Path) -> int:
    return int((await kept(tmp_path / "state"))["count"])


async def test_no_change_is_lost(tmp_path: Path) -> None:
    """Four processes that count at once count every turn, and each number once."""
    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(writer(tmp_path, name, 200)) for name in "abcd"]
        codes = await asyncio.gather(*(each.process.wait() for each in writers))

    numbers = [int(line.split()[1]) for each in writers for line in each.output.splitlines()]
    assert [0] * 4 == codes, [each.errors for each in writers]
    assert list(range(1, 801)) == sorted(numbers)
    assert 800 == await count(tmp_path)
    assert {"sqlite"} == set.union(*map(backends, writers))


async def test_all_follow_when_the_file_is_damaged(tmp_path: Path) -> None:
    """One process must set a damaged file aside, and all go on with one new file."""
    async with writer(tmp_path, "a", 0) as one, writer(tmp_path, "b", 0) as other:
        both = (one, other)
        await until(lambda: all(each.output.count("\n") > 20 for each in both))

        def noticed() -> bool:
            # Repeated until the damage is noticed, as other processes' caches may overwrite it.
            done = any("state_set_aside" in each.errors for each in both)
            for suffix in () if done else ("", "-wal"):
                # The file may have been set aside since the log was read.
                with (
                    suppress(FileNotFoundError),
                    (tmp_path / "state" / f"state.db{suffix}").open("r+b") as file,
                ):
                    file.write(b"damaged" * 10_000)
            return done

        await until(noticed)
        seen = [each.output.count("\n") for each in both]
        await until(
            lambda: all(
                each.output.count("\n") > before + 20
                for each, before in zip(both, seen, strict=True)
            )
        )
        await one.stop(signal.SIGKILL)
        await other.stop(signal.SIGKILL)

    found = await kept(tmp_path / "state")
    for each, name in zip(both, "ab", strict=True):
        *_, last = (line for line in each.output.splitlines() if line.endswith("sqlite"))
        assert f"{name}/{last.split()[0]}" in found


async def test_on_a_full_disk_it_goes_on_in_memory(tmp_path: Path) -> None:
    """On a full disk, counting must go on in memory, and kept documents stay."""
    async with writer(tmp_path, "a", 5) as first:
        await first.process.wait()
    async with writer(tmp_path, "b", 5, "0") as second:
        code = await second.process.wait()

    assert 0 == code, second.errors
    assert {"memory"} == backends(second)
    assert 5 == await count(tmp_path)


async def test_when_the_disk_fills_up_it_goes_on_in_memory(tmp_path: Path) -> None:
    """The count goes on from where it was, although nothing more can be written."""
    async with writer(tmp_path, "a", 2000, "200000") as process:
        code = await process.process.wait()

    numbers = [int(line.split()[1]) for line in process.output.splitlines()]
    assert 0 == code, process.errors
    assert {"sqlite", "memory"} == backends(process)
    assert list(range(1, 2001)) == numbers
    assert 1 < await count(tmp_path)


async def test_a_stopped_process_does_not_stop_the_others(tmp_path: Path) -> None:
    """A stopped process that holds the store must not stop the others."""
    async with writer(tmp_path, "a", 0) as one, writer(tmp_path, "b", 0) as other:
        await until(lambda: one.output and other.output)
        one.process.send_signal(signal.SIGSTOP)
        seen = other.output.count("\n")
        await until(lambda: other.output.count("\n") > seen + 20)
        one.process.send_signal(signal.SIGCONT)
        seen = one.output.count("\n")
        await until(lambda: one.output.count("\n") > seen + 20)
