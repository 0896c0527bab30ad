"""The replies of a Selenium Grid, reduced to the needed fields.

Capabilities and stereotypes may hold names of people or addresses, and a session id gives control
over a browser. Therefore only the existence of a session and the length of the queue are read.
"""

from __future__ import annotations

import msgspec


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A slot; its session stays undecoded and is only compared with `null`."""

    session: msgspec.Raw = msgspec.Raw(b"null")


class OsInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A node's operating system; the version is that of the kernel."""

    name: str = ""
    version: str = ""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node in the hub's list.

    Attributes:
        uri: The node's address, which identifies it; its id changes with each start.
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
    """The status of a hub; the status of version 3 has no nodes."""

    nodes: tuple[Node, ...] | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to `GET /status`."""

    value: StatusValue = StatusValue()


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """The hub itself, from GraphQL."""

    version: str = ""
    queued: float | None = msgspec.field(name="sessionQueueSize", default=None)


class GridData(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a GraphQL reply."""

    grid: Grid | None = None


class GridReply(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to the GraphQL query; it has at least one of the two fields."""

    data: GridData | None = None
    errors: tuple[msgspec.Raw, ...] | None = None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The queue, for hubs without GraphQL; its requests stay undecoded and are only counted."""

    value: tuple[msgspec.Raw, ...] | None = None
