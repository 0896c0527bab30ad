"""The memory of both tasks over a restart or a reload, with times as seconds of the epoch.

It is bounded: of the runs that are followed, of those that are held or done, and of the finished
ones of all suites the newest `MOST` each are kept, with the results of these and the names of the
suites, as many names of locations, and the agents that the newest lists name. A finished run takes
some 200 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from exporter.sources.blazemeter.masters import MasterRow
from exporter.sources.blazemeter.names import SuiteName
from exporter.sources.blazemeter.results import Results
from exporter.sources.blazemeter.runs import TrackedRun


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


T = TypeVar("T")

MOST = 10_000


class RunsMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a source.

    Attributes:
        followed: The runs that are followed.
        done: The runs that are not to be followed again, with the time of that decision.
        finished: The finished runs of all suites.
        held: The runs that wait for the name of their suite.
        listed: By workspace, when its newest good listing began.
        selection: Which runs of these lists were wanted, and how far back. If that changed, the
            lists hold news however often they were read.
        names: Of suites.
        results: Of finished runs.
    """

    version: Literal[1]
    followed: tuple[TrackedRun, ...]
    done: dict[str, float]
    finished: tuple[MasterRow, ...]
    listed: dict[int, float]
    selection: str
    names: dict[str, SuiteName] = {}
    results: dict[str, Results] = {}
    held: tuple[MasterRow, ...] = ()


class AgentsMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The agents and the locations of a source.

    Attributes:
        location_names: By the id that runs use.
        members: By workspace, the ids of its agents.
        locations: By workspace, the ids of its locations.
    """

    version: Literal[1]
    location_names: dict[str, str]
    members: dict[int, tuple[str, ...]]
    locations: dict[int, tuple[str, ...]] = {}


def newest(items: Iterable[T], age: Callable[[T], float]) -> tuple[T, ...]:
    """Return the `MOST` items with the largest times, in the order they came in."""
    every = tuple(items)
    if len(every) <= MOST:
        return every
    oldest = sorted(map(age, every))[-MOST]
    return tuple(each for each in every if age(each) >= oldest)[-MOST:]
