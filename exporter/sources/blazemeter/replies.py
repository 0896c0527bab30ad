"""The fields of BlazeMeter's replies that are wanted, and no others.

What is not named here is never decoded: e-mail addresses, `publicToken`, the agents' addresses
and signed links stay in the body and go with it. Every field may be missing. All times are epoch
seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import msgspec

from exporter.sources.decode import Id, Surprised, finite


T = TypeVar("T")

# Year 5138 in seconds; what is larger was given in milliseconds or is no time at all.
_LATEST = 1e11

#: A time as `epoch` returns it.
Epoch = Annotated[float, msgspec.Meta(gt=0, lt=_LATEST)]


class Engines(msgspec.Struct, frozen=True, kw_only=True):
    """Percent of a run's engines by group."""

    pending: float | None = None
    booting: float | None = None
    downloading: float | None = None
    ready: float | None = None
    ended: float | None = None


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that works for a session: nothing of it is wanted, its id can be an address."""


class ReadyStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The servers of a session that are there, and how many are to be."""

    servers: tuple[Server, ...] | None = None
    planned_servers_count: float | None = None
    is_delayed_start: bool | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a run: one engine or a few at one location."""

    id: Id = None
    name: str | None = None
    location_id: str | None = None
    ready_status: ReadyStatus | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened during a run at the time `t`."""

    t: float | None = None
    message: str | None = None
    level: str | None = None
    session_id: Id = None


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The status of a run; `progress` is a code, not a percentage."""

    id: Id = None
    status: str | None = None
    progress: float | None = None
    sessions: tuple[Session, ...] | None = None
    statuses: Engines | None = None
    is_data_available: bool | None = None
    events: tuple[Event, ...] | None = None


class FunctionalSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The result of a functional run; its `failedPercentage` was seen as 100 on a good run."""

    defined_status: str | None = None
    is_failed: bool | None = None


class Master(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A run as lists and `/masters/{id}` describe it.

    No public source names the field that holds the multi-test's id; there are two candidates.
    """

    id: Id = None
    name: str | None = None
    test_id: Id = None
    collection_id: Id = None
    test_collection_id: Id = None
    created: float | None = None
    ended: float | None = None
    report_status: str | None = None
    passed: bool | None = None
    functional_summary: FunctionalSummary | None = None
    has_data: bool | None = None
    max_users: float | None = None
    locations: tuple[str, ...] | None = None


class Disk(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A disk of an agent's host; `freeSpace` is in bytes."""

    present: bool | None = None
    free_space: float | None = None


class HostInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An agent's host, with its disks by the path they are mounted at."""

    disk_space: dict[str, Disk] | None = None


class SuiteDescription(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A test or a multi-test."""

    id: Id = None
    name: str | None = None
    last_run_time: float | None = None


class CiError(msgspec.Struct, frozen=True, kw_only=True):
    """Something that went wrong with a run's engines: its number counts, nothing else."""


class CiStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of a run beside its failure criteria."""

    errors: tuple[CiError, ...] | None = None


class SummaryRow(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a run under one label; times are in milliseconds but for `duration`."""

    id: Id = None
    lb: str | None = None
    hits: float | None = None
    failed: float | None = None
    avg: float | None = None
    tp90: float | None = None
    tp95: float | None = None
    tp99: float | None = None
    hits_avg: float | None = None
    duration: float | None = None
    concurrency: float | None = None
    max_users: float | None = msgspec.field(default=None, name="maxUsers")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a run by label."""

    summary: tuple[SummaryRow, ...] | None = None


class Ship(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An agent of a private location."""

    id: Id = None
    name: str | None = None
    state: str | None = None
    last_heart_beat: float | None = None
    installed_version: str | None = None
    host_info: HostInfo | None = None


class Location(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A private location."""

    id: Id = None
    name: str | None = None
    disabled: bool | None = None
    slots: float | None = None
    threads_per_engine: float | None = None
    ships: tuple[Ship, ...] | None = None


class Envelope(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The wrapping of every reply.

    `error` is null on success; its text is the vendor's and never shown.
    """

    error: Any = None
    result: T | None = None

    @property
    def lacks_result(self) -> bool:
        """Return whether the result is missing."""
        return self.result is None


class ListReply(Envelope[tuple[T, ...]], Generic[T], frozen=True, kw_only=True):
    """A page of a list.

    `limit` is the page size that the server used. `total` can be the text "n/a"; whether it counts
    the rows that this key may not see, `hidden` of them, is not documented.
    """

    limit: float | None = None
    total: float | str | None = None
    hidden: float | None = None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """The key's user: nothing of it is wanted."""


class UserReply(Envelope[User], frozen=True, kw_only=True):
    """`/user`, of which only the success counts.

    Its shape is not documented; the vendor's own client, Taurus, expects it wrapped or not.
    """

    id: Id = None

    @property
    def lacks_result(self) -> bool:
        """Return whether nobody is described in either way."""
        return self.id is None and self.result is None


class SummaryReply(Envelope[Summary], frozen=True, kw_only=True):
    """The results of a run, which may have none."""

    api_version: float | None = None

    @property
    def lacks_result(self) -> bool:
        """Return whether this is no answer at all: that there are no results is one."""
        return self.result is None and self.api_version is None


def epoch(value: float | None, surprise: Surprised | None = None) -> float | None:
    """Return a time in epoch seconds, `None` if it is none; by 0 the vendor says that too.

    Args:
        value: The time as it was given.
        surprise: Called for any other value that is no time.
    """
    number = finite(value)
    if number is not None and 0 < number < _LATEST:
        return number
    if value and surprise is not None:
        surprise("type")
    return None


def ratio(percent: float | None, surprise: Surprised) -> float | None:
    """Return a share of 0 to 1 from a percentage; another number is a surprise."""
    number = finite(percent)
    if number is not None and 0 <= number <= 100:
        return number / 100
    if percent is not None:
        surprise("type")
    return None
