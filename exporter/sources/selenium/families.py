"""Metrics that only Selenium Grid has, and the readings that fill them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from exporter.sources.api import Kind, Reading, TargetMapping, family, mapped, number


if TYPE_CHECKING:
    from collections.abc import Mapping


class NodeLoad(Reading, frozen=True, kw_only=True):
    """The sessions of a node.

    Attributes:
        sessions: The current number of sessions.
        sessions_limit: The largest number of concurrent sessions; smaller than the number of slots.
    """

    agent_id: str
    agent: str
    sessions: float | None = None
    sessions_limit: float | None = None


class GridLoad(Reading, frozen=True, kw_only=True):
    """The requests for sessions that wait in the queue of a hub."""

    queued: float | None = None


_node = partial(family, "selenium", of=Kind.AGENT)

AGENT_SESSIONS = _node("agent_sessions", "Current sessions of the node.")
AGENT_SESSIONS_LIMIT = _node(
    "agent_sessions_limit",
    "Concurrent sessions that the node allows; a node has more slots than that.",
)
QUEUED_SESSIONS = family(
    "selenium", "queued_sessions", "Requests for a session that wait in the queue."
)

#: The families that each type of reading fills.
MAPPINGS: Mapping[type[Reading], tuple[TargetMapping, ...]] = {
    NodeLoad: (
        mapped(
            ("agent_id", "agent"),
            number(AGENT_SESSIONS, "sessions"),
            number(AGENT_SESSIONS_LIMIT, "sessions_limit"),
        ),
    ),
    GridLoad: (mapped((), number(QUEUED_SESSIONS, "queued")),),
}
