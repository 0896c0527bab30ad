"""A Selenium hub made of recorded replies."""

from __future__ import annotations

import copy
from typing import Any

from exporter.fleet.readings import Agent
from tests.support.generators import Bench, recorded


URL = "http://hub.example:4444"
STATUS = "/status"
GRAPHQL = "/graphql"
QUEUE = "/se/grid/newsessionqueue/queue"

VERSION = "4.48.0 (revision 27f5213 27f5213055e28398a5105b7892b7a3bb2012a6ef)"
FIRST = "127.0.0.1:5555"
SECOND = "127.0.0.1:5556"


class Hub(Bench):
    """A source at a hub."""

    def __init__(self, reply: Any = "one_up", *, url: str = URL, **values: Any) -> None:
        super().__init__("selenium", url, **values)
        self.shows(reply)
        self.server.says(GRAPHQL, recorded("selenium", "graphql.one_up"))
        self.server.says(QUEUE, {"value": []})

    def shows(self, reply: Any) -> None:
        """Answer with a recorded reply, by its name, or with plain data from now on."""
        self.server.says(STATUS, status(reply) if isinstance(reply, str) else reply)

    async def states(self, reply: Any = None, *, after: float = 0.0) -> dict[str, Any]:
        """Poll so many seconds later; return of each node whether it is up, or why not."""
        self.clock.shift(after)
        if reply is not None:
            self.shows(reply)
        return {
            agent.agent_id: None if agent.state is None else agent.state.up or agent.state.reason
            for agent in await self.readings(Agent)
        }


def status(name: str) -> Any:
    """Return a recorded reply to `GET /status`."""
    return recorded("selenium", f"status.{name}")


def reply(*nodes: dict[str, Any]) -> Any:
    """Make a reply with nodes."""
    return {"value": {"ready": True, "message": "", "nodes": list(nodes)}}


def node(uri: str = f"http://{FIRST}", availability: str = "UP", **fields: Any) -> dict[str, Any]:
    """Make the row of a node."""
    row: dict[str, Any] = copy.deepcopy(status("one_up")["value"]["nodes"][0])
    return {**row, "uri": uri, "availability": availability, **fields}
