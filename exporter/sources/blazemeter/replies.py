"""The fields of BlazeMeter's replies that are wanted, and no others.

What is not named here is never decoded: e-mail addresses, `publicToken`, the agents' addresses
and signed links stay in the body and go with it. Every field may be missing.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec


Id = int | str | None


class Engines(msgspec.Struct, frozen=True, kw_only=True):
    """Percent of a run's engines by group (`api/v4` reference, section A4)."""

    pending: float | None = None
    booting: float | None = None
    downloading: float | None = None
    ready: float | None = None
    ended: float | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One engine of a run (section A5)."""

    id: Id = None
    name: str | None = None
    location_id: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened during a run (section A5); `t` is epoch seconds."""

    t: float | None = None
    message: str | None = None
    level: str | None = None
    session_id: Id = None


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a run stands (section A4); `progress` is a code, not a percentage."""

    id: Id = None
    status: str | None = None
    progress: float | None = None
    sessions: tuple[Session, ...] | None = None
    statuses: Engines | None = None
    is_data_available: bool | None = None
    events: tuple[Event, ...] | None = None


class Master(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A run as lists and `/masters/{id}` describe it (section B3); times are epoch seconds."""

    id: Id = None
    name: str | None = None
    test_id: Id = None
    created: float | None = None
    ended: float | None = None
    report_status: str | None = None
    max_users: float | None = None
    locations: tuple[str, ...] | None = None


class Ship(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An agent of a private location (section B6); the heartbeat is epoch seconds."""

    id: Id = None
    name: str | None = None
    state: str | None = None
    last_heart_beat: float | None = None
    installed_version: str | None = None


class Location(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A private location (section B6)."""

    id: Id = None
    name: str | None = None
    ships: tuple[Ship, ...] | None = None


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What every reply is wrapped in (sections A3 and B2).

    `error` is null on success; its text is the vendor's and never shown.
    """

    error: Any = None

    @property
    def lacks_result(self) -> bool:
        """Whether a result that is wanted is missing."""
        return getattr(self, "result", True) is None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who is logged in: nothing of it is wanted."""


class UserReply(Envelope, frozen=True, kw_only=True):
    """`/user`, of which only the success is looked at.

    Its shape is not documented; the vendor's own client, Taurus, expects it wrapped or not.
    """

    id: Id = None
    result: User | None = None

    @property
    def lacks_result(self) -> bool:
        """Whether nobody is described in either way."""
        return self.id is None and self.result is None


class StatusReply(Envelope, frozen=True, kw_only=True):
    """`/masters/{id}/status`."""

    result: Status | None = None


class MasterReply(Envelope, frozen=True, kw_only=True):
    """`/masters/{id}`."""

    result: Master | None = None


class MastersReply(Envelope, frozen=True, kw_only=True):
    """`/masters`; `total` is not read: it can be the text "n/a"."""

    limit: float | None = None
    result: tuple[Master, ...] | None = None


class LocationsReply(Envelope, frozen=True, kw_only=True):
    """`/private-locations`."""

    result: tuple[Location, ...] | None = None


class ShipsReply(Envelope, frozen=True, kw_only=True):
    """`/private-locations/{id}/servers`."""

    result: tuple[Ship, ...] | None = None


E = TypeVar("E", bound=Envelope)


def text(value: Id) -> str:
    """Return an id as label text, empty when the vendor gave none."""
    return "" if value is None else str(value)
