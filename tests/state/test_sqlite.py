from __future__ import annotations

import asyncio
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from exporter.errors import StateError
from exporter.state.base import salt
from tests.state.stores import entries, sqlite
from tests.support.clock import FakeClock
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


# -- Its file -----------------------------------------------------------------------------------


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Only the owner may read the folder and its files."""
    state = sqlite(tmp_path / "state")
    await state.put("key", b"value")

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in entries(tmp_path)}

    assert {"state": 0o700, **dict.fromkeys(modes.keys() - {"state"}, 0o600)} == modes
    assert {"state", "state.db", "state.db-wal", "state.db-shm", "state.lock"} == set(modes)
    await state.aclose()


async def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    """A command that never needs the state leaves no trace."""
    await sqlite(tmp_path / "state").aclose()

    assert [] == entries(tmp_path)


async def test_a_cancelled_change_is_whole_or_not_there(tmp_path: Path) -> None:
    """A cancelled change must be made whole or not at all, and leave the others alone."""
    state = sqlite(tmp_path)

    def change(value: bytes | None, _: float) -> tuple[bytes, None]:
        return b"%d" % (int(value or b"0") + 1), None

    tasks = [asyncio.create_task(state.update("n", change)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    found = await state.get("n")
    assert found is not None
    assert 25 <= int(found.value) <= 50
    await state.aclose()


async def test_what_waits_behind_a_failure_fails_with_it(tmp_path: Path) -> None:
    """A change that waits behind one that fails must fail too."""
    state = sqlite(tmp_path)
    both_wait = threading.Event()

    def change(_: bytes | None, __: float) -> tuple[None, None]:
        both_wait.wait()
        raise StateError("it is held")

    jobs = [
        asyncio.create_task(state.update("n", change)),
        asyncio.create_task(state.put("waits", b"")),
    ]
    await asyncio.sleep(0)
    both_wait.set()
    ends = await asyncio.gather(*jobs, return_exceptions=True)
    await state.put("later", b"")

    assert ["it is held"] * 2 == list(map(str, ends))
    assert ["later"] == list(await state.documents(""))
    await state.aclose()


async def test_a_disk_that_does_not_answer_holds_nobody(tmp_path: Path) -> None:
    """A disk that does not answer must hold up neither a change nor the end."""
    state = sqlite(tmp_path, limit_seconds=0.01)
    answers = threading.Event()

    def change(_: bytes | None, __: float) -> tuple[None, None]:
        answers.wait()
        return None, None

    with pytest.raises(StateError, match="not answered"):
        await state.update("n", change)
    await state.aclose()

    assert not answers.is_set()
    answers.set()
    # SQLite deletes its log when the last connection is closed.
    await until(lambda: tmp_path / "state.db-wal" not in entries(tmp_path))


async def test_a_closed_state_says_so(tmp_path: Path) -> None:
    """A call to a closed state must fail with `StateError`."""
    state = sqlite(tmp_path)
    await state.aclose()
    await state.aclose()

    with pytest.raises(StateError, match="closed"):
        await state.get("key")


async def test_what_nobody_writes_any_more_is_deleted(tmp_path: Path) -> None:
    """After 30 days a document goes, except the salt, which is written once."""
    clock = FakeClock()
    state = sqlite(tmp_path, clock)
    kept = await salt(state)
    await state.put("old", b"")
    clock.shift(20 * 86400)
    await state.put("young", b"")
    clock.shift(11 * 86400)

    await state.put("new", b"")

    assert ["new", "salt", "young"] == list(await state.documents(""))
    assert kept == await salt(state)
    await state.aclose()


async def test_a_full_store_keeps_what_it_has(tmp_path: Path) -> None:
    """A full store must refuse what does not fit, keep its documents, and let them be deleted."""
    state = sqlite(tmp_path, max_pages=12)
    await state.put("first", b"x" * 20_000)

    with pytest.raises(StateError, match="free some space"):
        await state.put("second", b"x" * 40_000)

    assert ["first"] == list(await state.documents(""))
    await state.delete("first")
    await state.put("second", b"x" * 20_000)
    assert ["second"] == list(await state.documents(""))
    await state.aclose()


# -- Its clock ----------------------------------------------------------------------------------


async def now(folder: Path, clock: FakeClock, boot_id: str) -> float:
    state = sqlite(folder, clock, boot_id=boot_id)
    answer = await state.update("clock", lambda _, now: (b"", now))
    await state.aclose()
    return answer


async def test_the_clock_of_a_new_store_is_the_wall_clock(tmp_path: Path) -> None:
    """The clock of a new store must be the wall clock."""
    assert 1_700_000_000.0 == pytest.approx(await now(tmp_path, FakeClock(), "a"), abs=1e-3)


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
async def test_a_jump_of_the_wall_clock_does_not_move_it(tmp_path: Path, jump: float) -> None:
    """A jump of the wall clock must not move the state's clock."""
    clock = FakeClock()
    before = await now(tmp_path, clock, "a")
    clock.unix += jump
    clock.shift(10.0)

    after = await now(tmp_path, clock, "a")

    assert 10.0 == pytest.approx(after - before, abs=1e-3)


@pytest.mark.parametrize("boot_id", ["a", "b", ""])
@pytest.mark.parametrize(("wall", "passed"), [(60.0, 60.0), (-86400.0, 0.0)])
async def test_it_goes_on_over_a_reboot(
    tmp_path: Path, boot_id: str, wall: float, passed: float
) -> None:
    """The clock must go on over a reboot, by the wall clock, and never go back."""
    before = await now(tmp_path, FakeClock(unix=1e9, monotonic=5000.0), boot_id)

    rebooted = FakeClock(unix=1e9 + wall, monotonic=3.0)
    after = await now(tmp_path, rebooted, f"{boot_id}{boot_id}")

    assert passed == pytest.approx(after - before, abs=1e-3)


async def test_a_short_life_before_the_reboot_does_not_matter(tmp_path: Path) -> None:
    """The time since the boot may be longer than it was at the boot before."""
    before = await now(tmp_path, FakeClock(unix=1e9, monotonic=10.0), "a")

    after = await now(tmp_path, FakeClock(unix=1e9 + 86400, monotonic=100.0), "b")

    assert 86400.0 == pytest.approx(after - before, abs=1e-3)


async def test_a_deletion_does_not_turn_the_clock_back(tmp_path: Path) -> None:
    """The newest stamp outlives its document."""
    clock = FakeClock(unix=1e9)
    state = sqlite(tmp_path, clock)
    await state.put("key", b"")
    clock.shift(100.0)
    await state.delete("key")
    await state.aclose()

    after = await now(tmp_path, FakeClock(unix=1e9 - 50, monotonic=1.0), "b")

    assert 1e9 + 100 == pytest.approx(after, abs=1e-3)
