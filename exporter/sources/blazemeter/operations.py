"""The calls that the client may send to BlazeMeter; all are read-only GETs.

The API also has calls that start, stop and publish runs, and a GET that issues a new token. The
client cannot send a call that is not in `OPERATIONS`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from exporter.sources.blazemeter.replies import (
    CiStatus,
    Envelope,
    ListReply,
    Location,
    Master,
    Ship,
    Status,
    SuiteDescription,
    SummaryReply,
    UserReply,
)


if TYPE_CHECKING:
    from collections.abc import Mapping


E = TypeVar("E", bound=Envelope[Any])

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Operation(msgspec.Struct, Generic[E], frozen=True, kw_only=True):
    """A read-only call.

    Attributes:
        name: The name of the call in metrics and messages.
        path: The path below the base URL; `{id}` is the placeholder of an id.
        reply: The struct of the reply.
        query: The allowed query parameters.
    """

    name: str
    path: str
    reply: type[E]
    query: frozenset[str] = frozenset()

    @property
    def of_item(self) -> bool:
        """True if the call is about a single item."""
        return "{id}" in self.path


USER = Operation(name="user", path="/api/v4/user", reply=UserReply)
MASTERS = Operation(
    name="masters",
    path="/api/v4/masters",
    reply=ListReply[Master],
    query=frozenset({"workspaceId", "testId", "collectionId", "limit", "skip", "sort[]"}),
)
MASTER = Operation(name="master", path="/api/v4/masters/{id}", reply=Envelope[Master])
STATUS = Operation(
    name="master_status",
    path="/api/v4/masters/{id}/status",
    reply=Envelope[Status],
    query=frozenset({"events", "level"}),
)
CI_STATUS = Operation(
    name="master_ci_status", path="/api/v4/masters/{id}/ci-status", reply=Envelope[CiStatus]
)
SUMMARY = Operation(
    name="master_summary",
    path="/api/v4/masters/{id}/reports/default/summary",
    reply=SummaryReply,
)
# The vendor's reference documents an object in one place and an array with one object in another.
TEST = Operation(
    name="test",
    path="/api/v4/tests/{id}",
    reply=Envelope[SuiteDescription | tuple[SuiteDescription, ...]],
)
MULTI_TEST = Operation(
    name="multi_test",
    path="/api/v4/multi-tests/{id}",
    reply=Envelope[SuiteDescription | tuple[SuiteDescription, ...]],
)
MULTI_TESTS = Operation(
    name="multi_tests",
    path="/api/v4/multi-tests",
    reply=ListReply[SuiteDescription],
    query=frozenset({"workspaceId", "limit", "skip"}),
)
LOCATIONS = Operation(
    name="private_locations",
    path="/api/v4/private-locations",
    reply=ListReply[Location],
    query=frozenset({"workspaceId", "limit", "skip"}),
)
LOCATION = Operation(
    name="private_location",
    path="/api/v4/private-locations/{id}",
    reply=Envelope[Location | tuple[Location, ...]],
)
SHIPS = Operation(
    name="private_location_servers",
    path="/api/v4/private-locations/{id}/servers",
    reply=Envelope[tuple[Ship, ...]],
)

OPERATIONS: frozenset[Operation[Any]] = frozenset(
    {
        USER,
        MASTERS,
        MASTER,
        STATUS,
        CI_STATUS,
        SUMMARY,
        TEST,
        MULTI_TEST,
        MULTI_TESTS,
        LOCATIONS,
        LOCATION,
        SHIPS,
    }
)


def target_of(operation: Operation[Any], item: str, query: Mapping[str, str | int]) -> str:
    """Return the path and query of a call.

    Raises:
        ValueError: The call or a parameter is not allowed, or the id is invalid.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"not a call of this client: {operation.name}")
    if not query.keys() <= operation.query:
        raise ValueError(f"{operation.name}: not one of its parameters")
    if operation.of_item and _ID.fullmatch(item) is None:
        raise ValueError(f"{operation.name}: not an id")
    path = operation.path.replace("{id}", item)
    return f"{path}?{urlencode(query)}" if query else path
