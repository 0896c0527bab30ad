"""The memory of both tasks over a restart or a reload; times are Unix timestamps.

Its size is bounded. The newest `MOST` runs of each sort are kept (followed, held, done and
finished), with the results of the finished runs, the names of their suites, `MOST` names of
locations, and the agents in the newest lists. A finished run takes about 200 bytes.
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
    """The memory of the task `runs`.

    Attributes:
        version: The version of this format.
        followed: The followed runs.
        done: The runs that must not be followed again, with the time of that decision.
        finished: The finished runs of all suites.
        held: The runs that wait for the name of their suite.
        listed: By workspace, the start of its newest successful listing.
        selection: The filters and the `lookback` in use. If they changed, all lists are read anew.
        names: The names of suites.
        results: The results of finished runs.
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
    """The memory of the task `agents`.

    Attributes:
        version: The version of this format.
        location_names: The names of locations, by the id that runs use.
        members: The ids of the agents of each workspace.
        locations: The ids of the locations of each workspace.
    """

    version: Literal[1]
    location_names: dict[str, str]
    members: dict[int, tuple[str, ...]]
    locations: dict[int, tuple[str, ...]] = {}


def newest(items: Iterable[T], age: Callable[[T], float]) -> tuple[T, ...]:
    """Return the `MOST` items with the largest times, in their original order."""
    every = tuple(items)
    if len(every) <= MOST:
        return every
    oldest = sorted(map(age, every))[-MOST]
    return tuple(each for each in every if age(each) >= oldest)[-MOST:]
