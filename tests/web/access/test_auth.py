from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import bcrypt
import pytest

from exporter.web.access.auth import Bucket, TooManyLoginsError, Users
from tests.support.clock import FakeClock
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Iterator


HASHES = {
    "alice": bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode(),
    "bob": bcrypt.hashpw(b"b" * 72, bcrypt.gensalt(5)).decode(),
}


class Compare:
    """Counts comparisons; they wait while `let` is cleared."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.let = threading.Event()
        self.let.set()

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        """Compare for real."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.hashes.append(hashed.decode())
        self.let.wait(10)
        self.at_once -= 1
        return bcrypt.checkpw(password, hashed)


@pytest.fixture
def compare() -> Iterator[Compare]:
    counting = Compare()
    yield counting
    counting.let.set()


@pytest.fixture
def users(compare: Compare) -> Iterator[Users]:
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield Users(HASHES, executor=executor, compare=compare)


@pytest.mark.parametrize(
    ("name", "password", "admitted"),
    [
        ("alice", b"right", True),
        ("alice", b"wrong", False),
        ("alice", b"", False),
        ("alice", b"right\0", False),
        ("bob", b"b" * 72, True),
        ("bob", b"b" * 100, True),
        ("bob", b"right", False),
        ("nobody", b"right", False),
        ("nobody", b"b" * 72, False),
        ("\udcff", b"right", False),
        ("", b"", False),
    ],
)
async def test_admits_by_name_and_password(
    users: Users, name: str, password: bytes, admitted: bool
) -> None:
    """Only a known name with its own password comes in; bcrypt sees 72 bytes of it."""
    assert admitted is await users.admit(name, password)


async def test_unknown_names_cost_as_much_as_known_ones(users: Users, compare: Compare) -> None:
    """An unknown name must cost one comparison with a real hash, as a known one does."""
    for name in ("alice", "bob", "nobody", "alicf"):
        await users.admit(name, b"wrong")

    assert 4 == len(compare.hashes)
    assert set(compare.hashes) <= set(HASHES.values())


async def test_unknown_names_cost_what_somebody_costs(users: Users, compare: Compare) -> None:
    """Checks of unknown names must cost what those of known users do, whichever hash they have."""
    for number in range(64):
        await users.admit(f"nobody-{number}", b"wrong")

    assert set(HASHES.values()) == set(compare.hashes)


async def test_an_unknown_name_always_costs_the_same(users: Users, compare: Compare) -> None:
    """An unknown name must always cost the same."""
    for number in range(5):
        await users.admit("nobody", b"wrong %d" % number)

    assert 1 == len(set(compare.hashes))


async def test_outcomes_are_remembered(users: Users, compare: Compare) -> None:
    """A scrape per second must not cost a comparison per second, be its password right or not."""
    outcomes = [
        await users.admit("alice", password) for _ in range(3) for password in (b"right", b"wrong")
    ]

    assert [True, False] * 3 == outcomes
    assert 2 == len(compare.hashes)


async def test_a_flood_of_wrong_passwords_drives_nobody_out(users: Users, compare: Compare) -> None:
    """An admitted user must stay remembered during a flood of guesses, in a bounded memory."""
    await users.admit("alice", b"right")
    for number in range(101):
        await users.admit("alice", b"wrong %d" % number)
    compared = len(compare.hashes)

    await users.admit("alice", b"right")
    await users.admit("alice", b"wrong 100")
    assert compared == len(compare.hashes)
    await users.admit("alice", b"wrong 0")

    assert compared + 1 == len(compare.hashes)


async def test_no_password_is_kept(users: Users) -> None:
    """A dump of the memory must not hold what was typed."""
    await users.admit("alice", b"right")

    assert b"right" not in repr(vars(users)).encode()


async def test_compares_one_at_a_time_and_the_same_once(users: Users, compare: Compare) -> None:
    """Passwords must be compared one at a time, and the same one once for all who wait."""
    compare.let.clear()
    asking = [
        asyncio.create_task(users.admit("alice", password))
        for password in (b"right", b"right", b"wrong", b"right")
    ]
    await until(lambda: compare.hashes)

    compare.let.set()
    outcomes = await asyncio.gather(*asking)

    assert [True, True, False, True] == outcomes
    assert (2, 1) == (len(compare.hashes), compare.most_at_once)


async def test_who_leaves_takes_no_comparison_along(users: Users, compare: Compare) -> None:
    """A client that gives up must not fail others who wait for the same outcome."""
    compare.let.clear()
    leaving = asyncio.create_task(users.admit("alice", b"right"))
    staying = asyncio.create_task(users.admit("alice", b"right"))
    await until(lambda: compare.hashes)

    leaving.cancel()
    compare.let.set()

    assert await staying
    assert 1 == len(compare.hashes)


async def test_a_crowd_is_refused(users: Users, compare: Compare) -> None:
    """Guessers must not build a queue in which the right password waits for minutes."""
    await users.admit("alice", b"right")
    compare.let.clear()
    waiting = [asyncio.create_task(users.admit("alice", b"%d" % number)) for number in range(32)]
    await until(lambda: len(compare.hashes) == 2)

    with pytest.raises(TooManyLoginsError):
        await users.admit("alice", b"one more")
    known = await users.admit("alice", b"right")
    compare.let.set()

    assert [False] * 32 == await asyncio.gather(*waiting)
    assert known


def test_a_bucket_lets_a_burst_through_and_then_one_per_interval() -> None:
    """A bucket must admit `burst` requests at once, and then one per `interval`."""
    clock = FakeClock()
    bucket = Bucket(interval_seconds=2.0, burst=3, monotonic=clock.clock.monotonic)

    burst = [bucket.take() for _ in range(4)]
    clock.shift(1.0)
    too_soon = bucket.take()
    clock.shift(1.0)
    later = [bucket.take(), bucket.take()]
    clock.shift(3_600.0)
    rested = [bucket.take() for _ in range(4)]

    assert [True, True, True, False] == burst
    assert not too_soon
    assert [True, False] == later
    assert [True, True, True, False] == rested
