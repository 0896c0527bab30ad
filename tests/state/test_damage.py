"""Damaged, foreign, gone, newer: never wrong, and it goes on."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from exporter.errors import StateError
from exporter.state import schema
from exporter.state.database import Database, tidy
from exporter.state.place import Place
from exporter.state.schema import DamagedError
from tests.state.stores import entries, host, no_mounts, sqlite
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


DOCUMENTS = {f"key/{number}": bytes([number]) * 97 * number for number in range(40)}


async def filled(folder: Path) -> bytes:
    """Make a store with the documents and return the bytes of its file."""
    state = sqlite(folder)
    for key, value in DOCUMENTS.items():
        await state.put(key, value)
    await state.aclose()
    return (folder / "state.db").read_bytes()


async def read(folder: Path) -> dict[str, bytes]:
    """Open a store, look for each of the documents and write a new one."""
    state = sqlite(folder)
    found = {key: await state.get(key) for key in DOCUMENTS}
    await state.put("new", b"written")
    written = await state.get("new")
    await state.aclose()
    assert written is not None
    return {key: document.value for key, document in found.items() if document is not None}


def damaged(folder: Path) -> list[str]:
    """Return the names of the files that were set aside."""
    return [path.name for path in Place(folder).damaged()]


async def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    """An empty file must be taken as a new store."""
    (tmp_path / "state.db").touch()

    assert {} == await read(tmp_path)
    assert [] == damaged(tmp_path)


async def test_cut_anywhere_it_is_never_wrong(tmp_path: Path) -> None:
    """A document is as it was written or not there, and the store can be used."""
    content = await filled(tmp_path / "whole")
    for length in [1, 16, 100, 512, 4095, 4096, 4097, *range(5000, len(content), 4999)]:
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "state.db").write_bytes(content[:length])

        found = await read(folder)

        assert found.items() <= DOCUMENTS.items(), length
        assert len(damaged(folder)) == (length > 1), length  # SQLite takes a byte for none


async def test_flipped_bits_are_never_wrong(tmp_path: Path) -> None:
    """With any bit flipped, a document must be as it was written or be missing."""
    content = await filled(tmp_path / "whole")
    chance = Random(7)  # noqa: S311 - repeatable, not secret
    outcomes: Counter[str] = Counter()
    for number in range(100):
        place = chance.randrange(len(content))
        flipped = bytearray(content)
        flipped[place] ^= 1 << chance.randrange(8)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "state.db").write_bytes(flipped)

        try:
            found = await read(folder)
        except StateError as error:
            # The bit was part of the schema's version.
            outcomes["newer" if "newer" in str(error) else str(error)] += 1
        else:
            # Documents read before the damaged page are right.
            assert found.items() <= DOCUMENTS.items(), place
            assert damaged(folder) or DOCUMENTS == found, place
            outcomes["lost" if damaged(folder) else "kept"] += 1
    assert {"lost", "kept", "newer"} == set(outcomes)
    assert 50 < outcomes["lost"]


async def test_keys_out_of_order_are_found_at_the_start(tmp_path: Path) -> None:
    """Keys out of order must be found at the start, or documents would be lost unnoticed."""
    content = await filled(tmp_path)
    assert 1 == content.count(b"key/17")
    (tmp_path / "state.db").write_bytes(content.replace(b"key/17", b"zey/17"))
    state = sqlite(tmp_path)

    await state.get("key/17")

    await state.aclose()
    assert 1 == len(damaged(tmp_path))


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE documents (key TEXT)")
        connection.commit()


def ours_with_other_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {0x4C464553}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("CREATE TABLE meta (name TEXT)")
        connection.commit()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.write_bytes(Random(1).randbytes(9_000)), id="random"),  # noqa: S311
        pytest.param(lambda path: path.write_text("notes\n" * 1_000), id="text"),
        pytest.param(lambda path: path.write_bytes(b"\0" * 8_192), id="zeros"),
        foreign,
        ours_with_other_tables,
    ],
)
async def test_what_is_not_ours_is_set_aside(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    """A file of something else must be kept under another name, and be logged."""
    file = tmp_path / "state.db"
    make(file)
    content = file.read_bytes()

    with capture_logs() as logs:
        found = await read(tmp_path)

    (name,) = damaged(tmp_path)
    assert {} == found
    assert content == (tmp_path / name).read_bytes()
    assert ["state_set_aside"] == [each["event"] for each in logs]
    assert str(file) == logs[0]["file"]


def _meta(name: str, value: bytes) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(
        "INSERT OR REPLACE INTO meta (name, checksum, value) VALUES (?, ?, ?)",
        (name, schema.checksum(name, 0.0, value), value),
    )


def _written(at: float) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(
        "UPDATE documents SET written = ?, checksum = ? WHERE key = 'key/1'",
        (at, schema.checksum("key/1", at, DOCUMENTS["key/1"])),
    )


@pytest.mark.parametrize(
    "write",
    [
        *(
            pytest.param(_meta(name, value), id=f"{name} {value[:6].decode(errors='replace')}")
            for name in ("offset", "newest")
            for value in (b"", b"x", b"\xff", b"inf", b"1e18", b"1" * 5_000)
        ),
        *(_meta("offset", value) for value in (b"nan", b"-1e18")),
        _meta("boot_id", b"\xff"),
        *(_written(at) for at in (-1.0, -math.inf, math.inf, 1e18)),
    ],
)
async def test_a_clock_that_no_host_has_is_damage(
    write: Callable[[sqlite3.Connection], object], tmp_path: Path
) -> None:
    """A clock that no host can have must count as damage."""
    await filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection, connection:
        write(connection)

    with capture_logs() as logs:
        found = await read(tmp_path)

    assert {} == found
    assert ["state_set_aside"] == [each["event"] for each in logs]
    assert 1 == len(damaged(tmp_path))


async def test_all_follow_when_it_is_damaged_while_open(tmp_path: Path) -> None:
    """A damaged file must be set aside by one process, and all go on with the new one."""
    clock = FakeClock()
    one, other, finder = (sqlite(tmp_path, clock) for _ in range(3))
    await one.put("lost", b"")
    await one.update("ledger", lambda _, __: (b"one", None))
    clock.shift(1.0)
    await other.update("ledger", lambda value, __: ((value or b"") + b", other", None))
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (tmp_path / "state.db").write_bytes(b"damaged" * 1_000)

    with capture_logs() as logs:
        await finder.put("found", b"")
        await one.put("first", b"")
        await other.put("second", b"")

    assert ["state_set_aside"] == [each["event"] for each in logs]
    for state in (one, other, finder):
        assert ["first", "found", "ledger", "second"] == list(await state.documents(""))
        found = await state.get("ledger")
        assert found is not None
        assert b"one, other" == found.value
        await state.aclose()


@pytest.mark.parametrize("emptied", [True, False])
async def test_all_follow_when_it_is_gone(tmp_path: Path, *, emptied: bool) -> None:
    """A file that was deleted or emptied must be begun anew by all."""
    one, other = sqlite(tmp_path), sqlite(tmp_path)
    for state in (one, other):
        await state.put("old", b"")
    if emptied:
        (tmp_path / "state.db").write_bytes(b"")
    else:
        for path in entries(tmp_path):
            path.unlink()

    await one.put("new", b"")
    await other.put("newer", b"")

    for state in (one, other):
        assert {"new", "newer"} <= set(await state.documents(""))
        await state.aclose()


class Swapped(Place):
    """A place at which an action happens between two reads of the file.

    Attributes:
        then: The action, which happens once.
    """

    then: Callable[[], object] | None = None

    def identity(self) -> tuple[int, int] | None:
        """Look, and have it happen."""
        seen = super().identity()
        then, self.then = self.then, None
        if then is not None:
            then()
        return seen


def add(connection: sqlite3.Connection, now: float) -> None:
    connection.execute("INSERT INTO documents VALUES ('a', ?, ?, ?)", (now, 0, b""))


def test_a_change_never_goes_into_a_file_that_was_set_aside(tmp_path: Path) -> None:
    """Another process may rename it between the look at it and the change."""
    place = Swapped(tmp_path, mounts=no_mounts)
    database = Database(place, host=host())
    database.read(lambda _, now: now)
    place.then = lambda: place.set_aside(0.0)

    database.write(add)

    database.close()
    with closing(sqlite3.connect(place.file)) as connection:
        assert [("a",)] == connection.execute("SELECT key FROM documents").fetchall()


def test_what_others_have_set_aside_is_not_set_aside_again(tmp_path: Path) -> None:
    """Of two processes that find the damage, only the first must set the file aside."""
    place = Swapped(tmp_path, mounts=no_mounts)
    database = Database(place, host=host())
    database.write(add)
    calls: list[float] = []

    def other() -> None:
        place.set_aside(0.0)
        place.make()

    def work(_: sqlite3.Connection, now: float) -> None:
        calls.append(now)
        if len(calls) == 1:
            place.then = other
            raise DamagedError

    database.read(work)

    database.close()
    assert 2 == len(calls)
    assert 1 == len(place.damaged())


def test_room_is_made_without_turning_the_clock_back(tmp_path: Path) -> None:
    """Tidying must not turn the clock back, even if no document is left."""
    clock = FakeClock(unix=1e9)
    database = Database(Place(tmp_path, mounts=no_mounts), host=host(clock))
    database.write(add)
    clock.shift(31 * 86400.0)

    database.write(tidy)

    database.close()
    rebooted = Database(
        Place(tmp_path, mounts=no_mounts), host=host(FakeClock(unix=1e9), boot_id="b")
    )
    assert 1e9 + 31 * 86400.0 <= rebooted.read(lambda _, now: now) + 1e-3
    rebooted.close()


async def test_a_wrong_value_is_not_returned(tmp_path: Path) -> None:
    """SQLite has no check sums of its own; ours find what it lets pass."""
    await filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("UPDATE documents SET value = x'00' WHERE key = 'key/7'")
        connection.commit()
    state = sqlite(tmp_path)

    assert await state.get("key/7") is None
    assert 1 == len(damaged(tmp_path))
    await state.aclose()


async def test_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    """After going back to an older version, the state of the newer one waits for it."""
    await filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("CREATE TABLE more (key)")
        connection.commit()
    content = (tmp_path / "state.db").read_bytes()
    state = sqlite(tmp_path)

    with pytest.raises(StateError, match=rf"{tmp_path}/state.db.*version 99.*newer"):
        await state.put("key", b"")

    await state.aclose()
    assert content == (tmp_path / "state.db").read_bytes()
    assert [] == damaged(tmp_path)


async def test_a_schema_that_becomes_newer_is_not_touched(tmp_path: Path) -> None:
    """The newer version may be started beside the older one."""
    state = sqlite(tmp_path)
    await state.put("key", b"old")
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.commit()

    with pytest.raises(StateError, match="version 99"):
        await state.put("key", b"new")

    await state.aclose()
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert [(b"old",)] == connection.execute("SELECT value FROM documents").fetchall()
