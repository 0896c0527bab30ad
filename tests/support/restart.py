"""Restarts of a source between its polls, like the daemon's.

A source gets the readings and the memory of the newest good poll of each task. The monotonic clock
starts again, as it does when the host is started.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from hypothesis import strategies as st

from exporter.errors import PollError
from exporter.fleet.readings import Reading
from exporter.metrics.mapping import samples
from tests.support.ledger import ledger_of


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.lockout.ledger import Ledger
    from exporter.sources.base import Source
    from tests.support.clock import FakeClock


R = TypeVar("R", bound=Reading)

#: The monotonic clock of a host that has just been started.
BOOTED = 20.0


class Bench(Protocol):
    """A test bench of any vendor."""

    ledger: Ledger
    source: Source

    def connect(self, **before: Any) -> Source:
        """Make a source with the readings and the memory from before."""


class Restarts:
    """Polls a bench's source, and keeps the readings and the memory for a restart."""

    def __init__(self, bench: Bench, time: FakeClock) -> None:
        self._bench = bench
        self._time = time
        self.known: dict[str, tuple[Reading, ...]] = {}
        self.memory: dict[str, bytes] = {}

    async def poll(self, task: str) -> tuple[Reading, ...]:
        """Poll a task.

        Raises:
            PollError: The poll failed; the kept data stay as they were.
        """
        poll = await self._bench.source.poll(task)
        self.known[task], self.memory[task] = poll.readings, poll.memory
        return poll.readings

    async def shown(self, task: str) -> Any:
        """Poll a task and return its readings as plain data, or the reason of its failure.

        Monotonic times are left out, so that readings of different clocks can be compared, and the
        order is always the same.
        """
        try:
            readings = await self.poll(task)
        except PollError as error:
            return error.reason
        return without_monotonic(readings)

    async def survives(self, task: str, memory: bytes) -> None:
        """Restart with another memory of a task, after which all polls must work.

        Raises:
            Exception: A poll does not work.
        """
        self.memory[task] = memory
        self.restart(down_seconds=1)
        for each in self.memory:
            for reading in await self.poll(each):
                tuple(samples(reading))
        assert all(map(json.loads, self.memory.values()))

    def restart(self, *, down_seconds: float = 0.0) -> None:
        """Close the source, and make another one some time later."""
        self._time.unix += down_seconds
        shift = BOOTED - self._time.monotonic - down_seconds
        self._time.monotonic = BOOTED
        self.known = {
            task: tuple(_shifted(reading, shift) for reading in readings)
            for task, readings in self.known.items()
        }
        self._bench.ledger = ledger_of(self._time)
        self._bench.source = self._bench.connect(known=dict(self.known), memory=dict(self.memory))


#: Values that replace a part of a memory.
_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 1e308, -1e308, 1e17, 10**30, 10**400, "", "x", "\x00", [], {}, [[]], 5]
)


def damaged(memory: bytes) -> st.SearchStrategy[bytes]:
    """Draw a damaged memory: parts exchanged, cut off, or everything replaced."""
    exchanged = st.builds(
        lambda path, odd: json.dumps(_exchanged(json.loads(memory), path, odd)).encode(),
        st.sampled_from(list(_paths(json.loads(memory)))),
        _ODD,
    )
    cut = st.integers(0, len(memory) - 1).map(lambda length: memory[:length])
    deep = st.sampled_from([b"[" * 200_000, b'{"version":1,"x":' + b"[" * 200_000])
    no_text = st.sampled_from([memory.replace(b'"', b'"\xff', count) for count in range(2, 30)])
    return st.one_of(exchanged, cut, deep, no_text, st.binary())


def _paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every part of plain data."""
    yield path
    parts: Any = ()
    if isinstance(data, dict | list):
        parts = data.items() if isinstance(data, dict) else enumerate(data)
    for key, part in parts:
        yield from _paths(part, (*path, key))


def _exchanged(data: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """Return plain data with another value at a path."""
    if not path:
        return odd
    data[path[0]] = _exchanged(data[path[0]], path[1:], odd)
    return data


def _shifted(reading: R, seconds: float) -> R:
    """Return a reading whose moments are on another monotonic clock."""
    fields = _map_moments(
        msgspec.to_builtins(reading),
        lambda moment: {**moment, "monotonic": moment["monotonic"] + seconds},
    )
    return msgspec.convert(fields, type(reading))


def without_monotonic(readings: tuple[Reading, ...]) -> list[Any]:
    """Return readings as plain data in a fixed order, without monotonic times."""
    plain = _map_moments(msgspec.to_builtins(readings), lambda moment: {"unix": moment["unix"]})
    return sorted(plain, key=repr)


def _map_moments(data: Any, change: Any) -> Any:
    if isinstance(data, dict):
        if {"unix", "monotonic"} == data.keys():
            return change(data)
        return {key: _map_moments(value, change) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_map_moments(value, change) for value in data]
    return data
