from __future__ import annotations

import asyncio
import gc
import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
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


def test_the_limit_of_descriptors_is_raised(restored_limit: int) -> None:
    """The soft limit is for programs that call `select`; ours may have as many as allowed."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (restored_limit // 2, restored_limit))

    async def main() -> None:
        limits.append(resource.getrlimit(resource.RLIMIT_NOFILE))

    limits: list[tuple[int, int]] = []
    process.run(main())

    assert [(restored_limit, restored_limit)] == limits


def test_open_files_are_not_free(restored_limit: int) -> None:
    """The number of free descriptors must not include open files."""
    soft = restored_limit // 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, restored_limit))
    before = process.free_descriptors()
    with Path("/dev/null").open("rb"):
        during = process.free_descriptors()

    assert 0 < before < soft
    assert before - 1 == during


@pytest.fixture
def restored_limit() -> Iterator[int]:
    """Give the tests their limit of descriptors back, and yield the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_is_known_until_it_has_ended() -> None:
    """Only of a process of this machine is it known that it has ended, a zombie included."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        known = process.identity(other.pid)
        alive = process.has_ended(known)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        as_a_zombie = process.has_ended(known)
        other.wait()
        gone = process.has_ended(known)

    assert process.identity()
    assert [False, True, True] == [alive, as_a_zombie, gone]


@pytest.mark.parametrize(
    "known",
    ["", "x", "boot pid:[1] 1 1", "a b c d", "a b -1 d", "{0} {1} x {3}", "other {1} {2} 1"],
)
def test_of_another_machine_nothing_is_known(known: str) -> None:
    """A process must not count as ended unless it can be identified on this machine."""
    own = process.identity().split()

    assert not process.has_ended(known.format(*own))


def test_a_process_that_is_hidden_has_not_ended(tmp_path: Path) -> None:
    """When `/proc` hides other users' processes, a running process must not count as ended."""
    known = process.identity()
    boot, space, number, _ = known.split()
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(boot)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(space)
    (tmp_path / number).mkdir()
    (tmp_path / number / "stat").write_text(Path(f"/proc/{number}/stat").read_text())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        hidden = process.identity(other.pid)
        alive = process.has_ended(hidden, proc=tmp_path)
        other.kill()
        other.wait()
        gone = process.has_ended(hidden, proc=tmp_path)

    assert known == process.identity(proc=tmp_path)
    assert [False, True] == [alive, gone]


def test_a_number_that_was_given_again_is_another_process() -> None:
    """A process with another start time must count as another process."""
    boot, space, number, start = process.identity().split()

    assert process.has_ended(f"{boot} {space} {number} {int(start) - 1}")


def test_without_a_proc_nobody_has_ended(tmp_path: Path) -> None:
    """Without `/proc`, no process may count as ended."""
    assert "" == process.identity(proc=tmp_path)
    assert not process.has_ended(process.identity(), proc=tmp_path)
