"""The replies of BlazeMeter's API, reduced to the needed fields.

Fields that are not declared here are never decoded, among them e-mail addresses, `publicToken`, the
agents' addresses and signed links. Every field may be missing. All points in time are Unix
timestamps in seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import msgspec

from exporter.sources.decode import Id, Surprised, finite


T = TypeVar("T")

# Year 5138 in seconds; a larger number is in milliseconds or not a time.
_LATEST = 1e11

#: A time as `epoch` returns it.
Epoch = Annotated[float, msgspec.Meta(gt=0, lt=_LATEST)]


class Engines(msgspec.Struct, frozen=True, kw_only=True):
    """The percentages of a run's engines by phase."""

    pending: float | None = None
    booting: float | None = None
    downloading: float | None = None
    ready: float | None = None
    ended: float | None = None


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of a session; only their number is used, because an id can be an address."""


class ReadyStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The present servers of a session, and the planned number."""

    servers: tuple[Server, ...] | None = None
    planned_servers_count: float | None = None
    is_delayed_start: bool | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a run: one or more engines at one location."""

    id: Id = None
    name: str | None = None
    location_id: str | None = None
    ready_status: ReadyStatus | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event during a run; `t` is its time."""

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
    """The result of a functional run; `failedPercentage` is unreliable and not read."""

    defined_status: str | None = None
    is_failed: bool | None = None


class Master(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The description of a run in lists and in `/masters/{id}`.

    No public document names the field with the multi-test's id; `collectionId` and
    `testCollectionId` are the candidates.
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
    """An agent's host, with its disks by mount point."""

    disk_space: dict[str, Disk] | None = None


class SuiteDescription(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A test or a multi-test."""

    id: Id = None
    name: str | None = None
    last_run_time: float | None = None


class CiError(msgspec.Struct, frozen=True, kw_only=True):
    """An error of a run's engines; only the number of errors is used."""


class CiStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of a run apart from its failure criteria."""

    errors: tuple[CiError, ...] | None = None


class SummaryRow(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a run for one label; times are in milliseconds, `duration` in seconds."""

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
    """The envelope of every reply.

    `error` is null on success; its text comes from the vendor and is never shown.
    """

    error: Any = None
    result: T | None = None

    @property
    def lacks_result(self) -> bool:
        """True if the result is missing."""
        return self.result is None


class ListReply(Envelope[tuple[T, ...]], Generic[T], frozen=True, kw_only=True):
    """A page of a list.

    `limit` is the page size that the server used. `total` can be the text "n/a". `hidden` is the
    number of rows that this key may not see; `total` may or may not count them (not documented).
    """

    limit: float | None = None
    total: float | str | None = None
    hidden: float | None = None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """The key's user; none of its fields is read."""


class UserReply(Envelope[User], frozen=True, kw_only=True):
    """The reply of `/user`; only its success matters.

    Its shape is not documented; the vendor's own client, Taurus, accepts it with and without an
    envelope.
    """

    id: Id = None

    @property
    def lacks_result(self) -> bool:
        """True if the user is missing both inside and outside the envelope."""
        return self.id is None and self.result is None


class SummaryReply(Envelope[Summary], frozen=True, kw_only=True):
    """The results of a run; a run without results has an API version, but no `result`."""

    api_version: float | None = None

    @property
    def lacks_result(self) -> bool:
        """True if the reply is not a valid answer, not even the answer "no results"."""
        return self.result is None and self.api_version is None


def epoch(value: float | None, surprise: Surprised | None = None) -> float | None:
    """Return a Unix timestamp, or `None` if it is missing or invalid; the vendor sends 0 for none.

    Args:
        value: The value in the reply.
        surprise: Called for an invalid value.
    """
    number = finite(value)
    if number is not None and 0 < number < _LATEST:
        return number
    if value and surprise is not None:
        surprise("type")
    return None


def ratio(percent: float | None, surprise: Surprised) -> float | None:
    """Return a percentage as a ratio from 0 to 1; a value beyond the range is a surprise."""
    number = finite(percent)
    if number is not None and 0 <= number <= 100:
        return number / 100
    if percent is not None:
        surprise("type")
    return None
