"""Every backend behaves like a dictionary, whichever process uses it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from exporter.clock import SYSTEM_CLOCK
from exporter.state.base import Fence, salt
from exporter.state.memory import MemoryState
from tests.state.stores import sqlite
from tests.support.clock import FakeClock
from tests.support.redis import PROGRAMS, RedisServer


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from exporter.state.base import State


T = TypeVar("T")


def memory_opener(folder: Path, clock: FakeClock) -> Callable[[], State]:
    state = MemoryState(clock.clock.monotonic)
    return lambda: state


def sqlite_opener(folder: Path, clock: FakeClock) -> Callable[[], State]:
    return lambda: sqlite(folder, clock)


def redis_opener(program: str) -> Callable[[Path, FakeClock], Callable[[], State]]:
    def opener(folder: Path, clock: FakeClock) -> Callable[[], State]:
        server = running(program)
        server.command("FLUSHALL")
        return server.state

    return opener


BACKENDS = {
    "memory": memory_opener,
    "sqlite": sqlite_opener,
    **{program: redis_opener(program) for program in PROGRAMS},
}

#: Runs a test with every backend; those with a server are slow.
EVERY = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(backend, marks=[pytest.mark.slow] if backend in PROGRAMS else [])
        for backend in BACKENDS
    ],
)

KEYS = st.sampled_from(["", "a", "a/b", "a/c", "b", "ä", "a\0", "a\U0010ffff", "a%", "A"])
HANDLES = st.integers(0, 1)
VALUES = st.binary(max_size=20) | st.sampled_from([b"x" * 5_000, b"\0" * 100])


#: For each program, the server that this module's tests share.
_SERVERS: dict[str, RedisServer] = {}


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    """End the servers that were started."""
    yield
    for server in _SERVERS.values():
        server.stop()
        shutil.rmtree(server.folder)
    _SERVERS.clear()


def running(program: str) -> RedisServer:
    if program not in _SERVERS:
        _SERVERS[program] = RedisServer(program, Path(tempfile.mkdtemp()))
    return _SERVERS[program]


class Machine(RuleBasedStateMachine):
    """Plays a backend against a dictionary."""

    backend = "memory"

    #: The tolerance between two readings of the clock.
    tolerance_seconds = 1e-5

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.open = BACKENDS[self.backend](self.folder / "state", self.clock)
        self.handles = [self.open(), self.open()]
        self.model: dict[str, tuple[bytes, float]] = {}

    def time(self) -> float:
        return self.clock.monotonic

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.runner.run(work)

    @rule(handle=HANDLES, key=KEYS, value=VALUES)
    def put(self, handle: int, key: str, value: bytes) -> None:
        self.run(self.handles[handle].put(key, value))
        self.model[key] = (value, self.time())

    @rule(handle=HANDLES, key=KEYS, value=VALUES, other=KEYS, prefix=st.sampled_from([b"", b"x"]))
    def put_if(self, handle: int, key: str, value: bytes, other: str, prefix: bytes) -> None:
        fence = Fence(key=other, prefix=prefix)
        written = self.run(self.handles[handle].put(key, value, fence=fence))

        assert written == (other in self.model and self.model[other][0].startswith(prefix))
        if written:
            self.model[key] = (value, self.time())

    @rule(handle=HANDLES, key=KEYS)
    def delete(self, handle: int, key: str) -> None:
        self.run(self.handles[handle].delete(key))
        self.model.pop(key, None)

    @rule(handle=HANDLES, key=KEYS, value=st.none() | VALUES)
    def update(self, handle: int, key: str, value: bytes | None) -> None:
        seen = self.run(self.handles[handle].update(key, lambda old, _: (value, old)))

        assert self.model.get(key, (None,))[0] == seen
        if value is None:
            self.model.pop(key, None)
        else:
            self.model[key] = (value, self.time())

    @rule(handle=HANDLES, key=KEYS)
    def fail(self, handle: int, key: str) -> None:
        def change(value: bytes | None, _: float) -> tuple[bytes, None]:
            raise ZeroDivisionError(value)

        with pytest.raises(ZeroDivisionError):
            self.run(self.handles[handle].update(key, change))

    @rule(handle=HANDLES, key=KEYS)
    def get(self, handle: int, key: str) -> None:
        found = self.run(self.handles[handle].get(key))

        if key not in self.model:
            assert found is None
        else:
            value, written = self.model[key]
            assert found is not None
            assert value == found.value
            age = pytest.approx(self.time() - written, abs=self.tolerance_seconds)
            assert age == found.age_seconds

    @rule(handle=HANDLES, prefix=KEYS)
    def documents(self, handle: int, prefix: str) -> None:
        found = self.run(self.handles[handle].documents(prefix))

        expected = {key: value for key, (value, _) in self.model.items()}
        assert {key: value for key, value in expected.items() if key.startswith(prefix)} == {
            key: document.value for key, document in found.items()
        }

    @rule(handle=HANDLES)
    def open_again(self, handle: int) -> None:
        if self.backend != "memory":  # which ends with its process
            self.run(self.handles[handle].aclose())
            self.handles[handle] = self.open()

    @rule(seconds=st.floats(0, 10_000))
    def wait(self, seconds: float) -> None:
        self.clock.shift(seconds)

    @invariant()
    def the_clock_is_one(self) -> None:
        first, second = (
            self.run(handle.update("none", lambda _, now: (None, now))) for handle in self.handles
        )

        assert pytest.approx(first, abs=self.tolerance_seconds) == second

    def teardown(self) -> None:
        for handle in self.handles:
            self.run(handle.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)


class ServerMachine(Machine):
    """A server has a clock that no test moves."""

    tolerance_seconds = 5.0

    def time(self) -> float:
        return SYSTEM_CLOCK.monotonic()


@EVERY
def test_it_does_what_a_dictionary_does(backend: str) -> None:
    """All clients must see what a dictionary would hold, after any sequence of operations."""
    base = ServerMachine if backend in PROGRAMS else Machine
    machine = type(f"{base.__name__} on {backend}", (base,), {"backend": backend})

    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=30))


@EVERY
async def test_changes_at_once_lose_nothing(backend: str, tmp_path: Path) -> None:
    """A change is one step, so that none overwrites another that it has not seen."""
    opener = BACKENDS[backend](tmp_path / "state", FakeClock())
    handles = [opener() for _ in range(3)]

    await asyncio.gather(
        *(
            handle.update("n", lambda value, _: (b"%d" % (int(value or b"0") + 1), None))
            for handle in handles
            for _ in range(50)
        )
    )

    found = await handles[0].get("n")
    assert found is not None
    assert b"150" == found.value
    for handle in handles:
        await handle.aclose()


@EVERY
async def test_the_salt_is_one(backend: str, tmp_path: Path) -> None:
    """All processes must get the same salt."""
    opener = BACKENDS[backend](tmp_path / "state", FakeClock())
    one, other = opener(), opener()

    salts = [await salt(one), await salt(other), await salt(one)]

    assert 1 == len(set(salts))
    assert 32 == len(salts[0])
    for handle in (one, other):
        await handle.aclose()
