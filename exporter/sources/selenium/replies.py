"""The fields of a Selenium Grid's replies that are wanted, and no others.

Capabilities, session ids and stereotypes may hold names of people, addresses, or what gives control
over a browser: of a session it is only known that there is one, and of the queue its length.
"""

from __future__ import annotations

import msgspec


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A slot; its session stays the bytes that it came as, and only `null` is told from others."""

    session: msgspec.Raw = msgspec.Raw(b"null")


class OsInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A node's system; the version is that of the kernel."""

    name: str = ""
    version: str = ""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node as its hub lists it.

    Attributes:
        uri: Its address, which outlives its starts; its id does not.
        availability: `UP`, `DRAINING` or `DOWN`.
    """

    uri: str = ""
    availability: str = ""
    max_sessions: float | None = msgspec.field(name="maxSessions", default=None)
    slots: tuple[Slot, ...] = ()
    version: str = ""
    os_info: OsInfo = msgspec.field(name="osInfo", default=OsInfo())

    @property
    def sessions(self) -> int:
        """The number of slots with a session."""
        return sum(bytes(slot.session) not in (b"", b"null") for slot in self.slots)


class StatusValue(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the reply that says something. A hub of version 3 has no nodes in it."""

    nodes: tuple[Node, ...] | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to `GET /status`."""

    value: StatusValue = StatusValue()


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """The hub itself, by GraphQL."""

    version: str = ""
    queued: float | None = msgspec.field(name="sessionQueueSize", default=None)


class GridData(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a GraphQL reply."""

    grid: Grid | None = None


class GridReply(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to the one GraphQL query, which has at least one of these."""

    data: GridData | None = None
    errors: tuple[msgspec.Raw, ...] | None = None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The queue, where GraphQL is not offered; of each request nothing but that it waits."""

    value: tuple[msgspec.Raw, ...] | None = None
