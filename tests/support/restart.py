"""Restarts of a source between its polls, as the daemon makes them.

What a source finds again are the readings and the memory of the newest good poll of each task. The
monotonic clock begins anew, as it does when the host is started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from exporter.errors import PollError
from exporter.fleet.readings import Reading
from exporter.lockout.ledger import Ledger


if TYPE_CHECKING:
    from exporter.sources.base import Source
    from tests.support.clock import FakeClock


R = TypeVar("R", bound=Reading)

#: The monotonic clock of a host that was started just now.
BOOTED = 20.0


class Bench(Protocol):
    """A test bench of any vendor."""

    ledger: Ledger
    source: Source

    def connect(self, **before: Any) -> Source:
        """Make a source from what there was before."""


class Restarts:
    """Polls the source of a bench and keeps what a restart brings back."""

    def __init__(self, bench: Bench, time: FakeClock) -> None:
        self._bench = bench
        self._time = time
        self.known: dict[str, tuple[Reading, ...]] = {}
        self.memory: dict[str, bytes] = {}

    async def poll(self, task: str) -> tuple[Reading, ...]:
        """Poll a task.

        Raises:
            PollError: The poll failed; what is kept stays as it was.
        """
        poll = await self._bench.source.poll(task)
        self.known[task], self.memory[task] = poll.readings, poll.memory
        return poll.readings

    async def shown(self, task: str) -> Any:
        """Poll a task and return its readings as plain data, or why it failed.

        The monotonic clock is left out, so that what different clocks saw can be compared, and the
        order is always the same.
        """
        try:
            readings = await self.poll(task)
        except PollError as error:
            return error.reason
        return sorted(map(_without_monotonic, msgspec.to_builtins(readings)), key=repr)

    def restart(self, *, down_seconds: float = 0.0) -> None:
        """End the source, and some time later begin another one."""
        self._time.unix += down_seconds
        shift = BOOTED - self._time.monotonic - down_seconds
        self._time.monotonic = BOOTED
        self.known = {
            task: tuple(_shifted(reading, shift) for reading in readings)
            for task, readings in self.known.items()
        }
        self._bench.ledger = Ledger()
        self._bench.source = self._bench.connect(known=dict(self.known), memory=dict(self.memory))


def _shifted(reading: R, seconds: float) -> R:
    """Return a reading whose moments are on another monotonic clock."""
    fields = _map_moments(
        msgspec.to_builtins(reading),
        lambda moment: {**moment, "monotonic": moment["monotonic"] + seconds},
    )
    return msgspec.convert(fields, type(reading))


def _without_monotonic(data: Any) -> Any:
    return _map_moments(data, lambda moment: {"unix": moment["unix"]})


def _map_moments(data: Any, change: Any) -> Any:
    if isinstance(data, dict):
        if {"unix", "monotonic"} == data.keys():
            return change(data)
        return {key: _map_moments(value, change) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_map_moments(value, change) for value in data]
    return data
