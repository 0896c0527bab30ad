"""A simulated Locust master behind a proxy with a password; replies have the recorded shapes."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from starlette.responses import HTMLResponse

from exporter.conformance.api import Machine, Portal, Timeline, World, application


if TYPE_CHECKING:
    from starlette.applications import Starlette

    from exporter.conformance.api import Clock, SimulatorOptions


TOKEN = "exporter:simulated-locust-password"

#: Paths that change the test, in older versions even by GET.
CHANGES = ("GET /stop", "GET /stats/reset")


class Test(msgspec.Struct, kw_only=True):
    """The test, the only row of the table `tests`, with the id `main`.

    Attributes:
        stopped_at: The time at which the test is stopped.
    """

    stopped_at: float = math.inf


class Worker(Machine, kw_only=True):
    """A worker, listed as missing when it is not up."""

    id: str


class Master(World):
    """The workers and the test of a master."""

    kinds: ClassVar = frozenset({"agents", "tests"})

    def __init__(self, options: SimulatorOptions, clock: Clock) -> None:
        super().__init__(Timeline(clock, pace=options.pace, still=options.still))
        self.tests = {"main": Test()}
        self.agents = {
            f"lg{number}": Worker(id=f"lg{number}_{number:032x}")
            for number in range(1, options.agents + 1)
        }

    def stats(self) -> dict[str, Any]:
        """Make the reply to `GET /stats/requests`."""
        moment = self.timeline.moment()
        state = "running" if moment < self.tests["main"].stopped_at else "stopped"
        return {
            "current_fail_per_sec": 0.6,
            "current_response_time_percentiles": {
                "response_time_percentile_0.5": 2,
                "response_time_percentile_0.95": 6,
            },
            "current_rps": 1.2,
            "errors": [
                {
                    "error": "HTTPError('404 Client Error: Not Found for url: /nope')",
                    "first_seen": 1795900069.9255762,
                    "last_seen": 1795900149.2664988,
                    "method": "GET",
                    "name": "/nope",
                    "occurrences": 51,
                }
            ],
            "fail_ratio": 0.4396551724137931,
            "state": state,
            "stats": [_row("GET", "/"), _row("", "Aggregated")],
            "total_fail_per_sec": 0.64,
            "total_rps": 1.45,
            "user_count": 4 * len(self.agents),
            "worker_count": len(self.agents),
            "workers": [
                {
                    "cpu_usage": 1.3,
                    "id": worker.id,
                    "memory_usage": 56266752,
                    "state": state if worker.is_up(moment) else "missing",
                    "user_count": 4,
                }
                for worker in self.agents.values()
            ],
        }


def _row(method: str, name: str) -> dict[str, Any]:
    return {
        "avg_content_length": 3.0,
        "avg_response_time": 3.3849283844364644,
        "current_fail_per_sec": 0.6,
        "current_rps": 1.2,
        "max_response_time": 9.0,
        "median_response_time": 3,
        "method": method,
        "min_response_time": 2.0,
        "name": name,
        "num_failures": 51,
        "num_requests": 116,
        "response_time_percentile_0.95": 8,
        "response_time_percentile_0.99": 9,
        "total_fail_per_sec": 0.64,
        "total_rps": 1.45,
    }


def stopped(world: World) -> None:
    """Stop the test within a minute, unless it is over already."""
    world.change("tests", "main", stopped_at=world.timeline.moment() + 60.0)


def app(options: SimulatorOptions, clock: Clock) -> Starlette:
    """Build the master."""
    master = Master(options, clock)
    arguments = json.dumps({"extra_options": {}, "locustfile": "shop.py", "version": "2.47.0"})
    page = f"<html><script>\n      window.templateArgs = {arguments}\n</script></html>"
    return application(
        Portal(master, options, clock, TOKEN),
        {"GET /stats/requests": lambda _: master.stats(), "GET /": lambda _: HTMLResponse(page)},
        authorization=basic,
        changes=CHANGES,
    )


def basic(token: str) -> str:
    """Make the header of a name and a password."""
    return f"Basic {b64encode(token.encode()).decode()}"
