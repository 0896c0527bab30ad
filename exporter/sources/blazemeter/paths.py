"""The calls that may be sent, and no others.

The API has calls beside these that start, stop and publish runs, and one GET that issues a new
token (reference section B1, "Never call"). What is not in this table cannot be asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec


if TYPE_CHECKING:
    from collections.abc import Mapping


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A read-only call.

    Attributes:
        name: Of the call, as metrics and messages have it.
        path: Below the base URL; `{id}` stands for one id.
        query: The parameters it may have.
    """

    name: str
    path: str
    query: frozenset[str] = frozenset()


USER = Operation(name="user", path="/api/v4/user")
MASTERS = Operation(
    name="masters",
    path="/api/v4/masters",
    query=frozenset({"workspaceId", "testId", "limit", "skip", "sort[]"}),
)
MASTER = Operation(name="master", path="/api/v4/masters/{id}")
STATUS = Operation(
    name="master_status",
    path="/api/v4/masters/{id}/status",
    query=frozenset({"events", "level"}),
)
LOCATIONS = Operation(
    name="private_locations",
    path="/api/v4/private-locations",
    query=frozenset({"workspaceId", "limit"}),
)
SHIPS = Operation(name="private_location_servers", path="/api/v4/private-locations/{id}/servers")

OPERATIONS = frozenset({USER, MASTERS, MASTER, STATUS, LOCATIONS, SHIPS})

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


def target_of(operation: Operation, item: str, query: Mapping[str, str | int]) -> str:
    """Return path and query of a call.

    Raises:
        ValueError: The call is not on the list, or the id could change the path.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"not a call of this client: {operation.name}")
    if not query.keys() <= operation.query:
        raise ValueError(f"{operation.name}: not one of its parameters")
    if "{id}" in operation.path and _ID.fullmatch(item) is None:
        raise ValueError(f"{operation.name}: not an id")
    path = operation.path.replace("{id}", item)
    return f"{path}?{urlencode(query)}" if query else path
