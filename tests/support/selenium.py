"""A simulated Selenium Grid hub with a password; replies have the recorded shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from exporter.conformance.api import Machine, Portal, Timeline, World, application
from tests.support.locust import basic


if TYPE_CHECKING:
    from starlette.applications import Starlette

    from exporter.conformance.api import Clock, SimulatorOptions


TOKEN = "exporter:simulated-selenium-password"
VERSION = "4.48.0 (revision 27f5213 27f5213055e28398a5105b7892b7a3bb2012a6ef)"


class Node(Machine, kw_only=True):
    """A node with two slots, one of them in use."""

    number: int

    def row(self, moment: float) -> dict[str, Any]:
        """Make the node's part of the reply."""
        host = f"00000000-0000-4000-8000-{self.number:012}"
        kind = {"browserName": "chrome", "platformName": "linux"}
        session = {
            "capabilities": {"custom:owner": "tester@example.com", "se:name": "example test"},
            "sessionId": f"{self.number:032x}",
            "start": "2026-11-28T21:08:45.358904127Z",
            "stereotype": kind,
            "uri": f"http://node{self.number}:5555",
        }
        return {
            "sessionTimeout": 300000,
            "id": host,
            "slots": [
                {
                    "id": {"hostId": host, "id": f"{host}-{slot}"},
                    "lastStarted": "1970-01-01T00:00:00Z",
                    "session": session if slot else None,
                    "stereotype": kind,
                }
                for slot in range(2)
            ],
            "heartbeatPeriod": 60000,
            "uri": f"http://node{self.number}:5555",
            "osInfo": {"version": "6.1.0", "arch": "amd64", "name": "Linux"},
            "maxSessions": 2,
            "availability": "UP" if self.is_up(moment) else "DOWN",
            "version": VERSION,
        }


class Hub(World):
    """The nodes of a hub."""

    kinds: ClassVar = frozenset({"agents"})

    def __init__(self, options: SimulatorOptions, clock: Clock) -> None:
        super().__init__(Timeline(clock, pace=options.pace, still=options.still))
        self.agents = {f"node{n}:5555": Node(number=n) for n in range(1, options.agents + 1)}

    def status(self) -> dict[str, Any]:
        """Make the reply to `GET /status`."""
        moment = self.timeline.moment()
        nodes = [node.row(moment) for node in self.agents.values()]
        return {"value": {"nodes": nodes, "ready": True, "message": "Selenium Grid ready."}}


def app(options: SimulatorOptions, clock: Clock) -> Starlette:
    """Build the hub."""
    hub = Hub(options, clock)
    grid = {"version": VERSION, "sessionQueueSize": 1}
    waiting = {"requestId": f"{1:032x}", "capabilities": [{"browserName": "safari"}]}
    return application(
        Portal(hub, options, clock, TOKEN),
        {
            "GET /status": lambda _: hub.status(),
            "POST /graphql": lambda _: {"data": {"grid": grid}},
            "GET /se/grid/newsessionqueue/queue": lambda _: {"value": [waiting]},
        },
        authorization=basic,
    )
