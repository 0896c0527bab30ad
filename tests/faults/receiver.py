"""The part of an Alertmanager that decides on notifications: new alerts, and expired ones."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route


if TYPE_CHECKING:
    from starlette.requests import Request


Key = frozenset[tuple[str, str]]


class Page(NamedTuple):
    """A notification about one alert.

    Attributes:
        state: `firing`, `resolved` by the sender, or `expired` since the sender fell silent.
        at: The time, epoch seconds.
    """

    state: str
    alertname: str
    source: str
    target: str
    at: float


class Receiver:
    """Takes alerts; repeated ones cause no notification.

    Attributes:
        pages: The notifications, in order.
        calls: The number of received calls.
        answering: Cleared to hold back the answers of accepted calls.
    """

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.calls = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self._until: dict[Key, float] = {}

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(routes=[Route("/api/v2/alerts", self._take, methods=["POST"])])

    def states(self, alertname: str, target: str = "") -> list[str]:
        """Return the states of an alert's notifications, in order."""
        self.expire()
        return [
            page.state
            for page in self.pages
            if page.alertname == alertname and target in ("", page.target)
        ]

    def expire(self) -> None:
        """End alerts whose end time has passed without a repetition."""
        now = time.time()
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key]
            self._tell("expired", key)

    async def _take(self, request: Request) -> Response:
        alerts: list[dict[str, Any]] = await request.json()
        self.calls += 1
        self.expire()
        now = time.time()
        for alert in alerts:
            if alert["labels"]["severity"] == "none":  # nobody is told of the heartbeat
                continue
            key = frozenset(alert["labels"].items())
            until = datetime.fromisoformat(alert["endsAt"]).timestamp()
            if until > now:
                if key not in self._until:
                    self._tell("firing", key)
                self._until[key] = until
            elif self._until.pop(key, None) is not None:
                self._tell("resolved", key)
        await self.answering.wait()
        return Response()

    def _tell(self, state: str, key: Key) -> None:
        labels = dict(key)
        self.pages.append(
            Page(
                state=state,
                alertname=labels["alertname"],
                source=labels.get("source", ""),
                target=labels.get("agent_id") or labels.get("agent", ""),
                at=time.time(),
            )
        )
