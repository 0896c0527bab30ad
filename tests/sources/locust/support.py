"""A Locust master made of recorded replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.fleet.readings import Agent
from exporter.sources.locust.families import RunLoad
from tests.support.generators import HTML, Bench, raw, recorded


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.fleet.readings import AgentState


URL = "http://master.example:8089"
STATS = "/stats/requests"
PAGE = "/"

#: The ids of the recordings' workers.
FIRST = "lg1_62a3954ed1734369879d160afc69e6fe"
SECOND = "lg1_5dc3f11ea1f84e36a132b2b61d4800f6"
NEW = "lg1_ef3a5f86846a42a5a9e8ead47b8bc3ef"


class Master(Bench):
    """A source at a master."""

    def __init__(self, reply: Any = "two_idle", *, url: str = URL, **values: Any) -> None:
        super().__init__("locust", url, **values)
        self.page(raw("locust", "root.html"))
        self.shows(reply)

    def shows(self, reply: Any) -> None:
        """Answer with a recorded reply, by its name, or with plain data from now on."""
        self.server.says(STATS, stats(reply) if isinstance(reply, str) else reply)

    def page(self, body: bytes, *, status: int = 200, content_type: str = HTML) -> None:
        """Answer with a page."""
        self.server.says(PAGE, body, status=status, content_type=content_type)

    async def states(self, reply: Any = None, *, after: float = 0.0) -> dict[str, Any]:
        """Poll so many seconds later; return of each worker whether it is up, or why not."""
        self.clock.shift(after)
        if reply is not None:
            self.shows(reply)
        return {agent.agent_id: verdict(agent.state) for agent in await self.readings(Agent)}

    async def load(self) -> RunLoad | None:
        """Poll, and return the load of the test."""
        return next(iter(await self.readings(RunLoad)), None)


def verdict(state: AgentState | None) -> Any:
    """Return whether a worker is up, or why not; `None` where that is unknown."""
    return None if state is None else state.up or state.reason


def stats(name: str) -> Any:
    """Return a recorded reply to `GET /stats/requests`."""
    return recorded("locust", f"stats_requests.{name}")


def reply(*workers: tuple[str, str], state: str = "running", **fields: Any) -> Any:
    """Make a reply with workers, each given by its id and state."""
    rows = [worker(worker_id, each) for worker_id, each in workers]
    return {**stats("running"), "state": state, "workers": rows, **fields}


def worker(worker_id: str, state: str = "running", **fields: Any) -> dict[str, Any]:
    """Make the row of a worker."""
    row = {"user_count": 1, "cpu_usage": 50.0, "memory_usage": 1024}
    return {"id": worker_id, "state": state, **row, **fields}


def hexed(host: str, number: int) -> str:
    """Make the id of a worker."""
    return f"{host}_{number:032x}"


def with_row(state: str = "running", **row: Any) -> Any:
    """Make a reply whose aggregate has other values."""
    data = stats("running")
    data["stats"][-1] |= row
    return {**data, "state": state}


def with_requests(count: int, state: str) -> Any:
    """Make a reply by its number of requests and the state of the test."""
    return with_row(state, num_requests=count, num_failures=0)


def own(samples: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Return the samples of families that begin with a prefix."""
    return {key: value for key, value in samples.items() if key.startswith(prefix)}
