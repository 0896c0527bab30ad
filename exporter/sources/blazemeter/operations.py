"""The calls that may be sent, and no others.

The API has calls beside these that start, stop and publish runs, and one GET that issues a new
token (reference section B1, "Never call"). What is not in this table cannot be asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic
from urllib.parse import urlencode

import msgspec

from exporter.sources.blazemeter.replies import (
    E,
    LocationsReply,
    MasterReply,
    MastersReply,
    ShipsReply,
    StatusReply,
    UserReply,
)


if TYPE_CHECKING:
    from collections.abc import Mapping


class Operation(msgspec.Struct, Generic[E], frozen=True, kw_only=True):
    """A read-only call.

    Attributes:
        name: Of the call, as metrics and messages have it.
        path: Below the base URL; `{id}` stands for one id.
        reply: What it answers.
        query: The parameters it may have.
    """

    name: str
    path: str
    reply: type[E]
    query: frozenset[str] = frozenset()

    @property
    def of_item(self) -> bool:
        """Whether it is about one thing only."""
        return "{id}" in self.path


USER = Operation(name="user", path="/api/v4/user", reply=UserReply)
MASTERS = Operation(
    name="masters",
    path="/api/v4/masters",
    reply=MastersReply,
    query=frozenset({"workspaceId", "testId", "limit", "skip", "sort[]"}),
)
MASTER = Operation(name="master", path="/api/v4/masters/{id}", reply=MasterReply)
STATUS = Operation(
    name="master_status",
    path="/api/v4/masters/{id}/status",
    reply=StatusReply,
    query=frozenset({"events", "level"}),
)
LOCATIONS = Operation(
    name="private_locations",
    path="/api/v4/private-locations",
    reply=LocationsReply,
    query=frozenset({"workspaceId", "limit"}),
)
SHIPS = Operation(
    name="private_location_servers",
    path="/api/v4/private-locations/{id}/servers",
    reply=ShipsReply,
)

OPERATIONS: frozenset[Operation[Any]] = frozenset({USER, MASTERS, MASTER, STATUS, LOCATIONS, SHIPS})

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


def target_of(operation: Operation[Any], item: str, query: Mapping[str, str | int]) -> str:
    """Return path and query of a call.

    Raises:
        ValueError: The call is not on the list, or the id could change the path.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"not a call of this client: {operation.name}")
    if not query.keys() <= operation.query:
        raise ValueError(f"{operation.name}: not one of its parameters")
    if operation.of_item and _ID.fullmatch(item) is None:
        raise ValueError(f"{operation.name}: not an id")
    path = operation.path.replace("{id}", item)
    return f"{path}?{urlencode(query)}" if query else path
