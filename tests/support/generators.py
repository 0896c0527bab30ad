"""A Locust master or a Selenium hub that answers from memory, and a source over it."""

from __future__ import annotations

import json
from pathlib import Path
from pkgutil import resolve_name
from random import Random
from typing import TYPE_CHECKING, Any

import httpx

from exporter.http import HttpClient
from exporter.metrics.telemetry import SelfMetrics
from exporter.sources.base import SourceContext
from exporter.sources.calls import http_options
from exporter.sources.registry import PROVIDERS
from tests.support.clock import FakeClock
from tests.support.ledger import ledger_of
from tests.support.realload import exposed
from tests.support.restart import Restarts


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.fleet.readings import Reading
    from exporter.sources.base import Explanation, Poll, Source


FIXTURES = Path(__file__).parent.parent / "fixtures"

JSON = "application/json"
HTML = "text/html; charset=utf-8"


class Server:
    """Gives scripted answers by path, and keeps the requests.

    Attributes:
        answers: For each path, the answer, or the error that the call ends in.
        asked: The requests so far.
    """

    def __init__(self) -> None:
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.asked: list[httpx.Request] = []

    def says(
        self,
        path: str,
        body: Any,
        *,
        status: int = 200,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Set a path's answer from now on; plain data becomes JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"content-type": content_type, **(headers or {})}
        self.answers[path] = httpx.Response(status, headers=fields, content=content)

    def is_away(self) -> None:
        """Let all connections fail from now on."""
        self.answers = dict.fromkeys(self.answers, httpx.ConnectError("refused"))

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request as a transport does."""
        self.asked.append(request)
        answer = self.answers[request.url.path]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def calls(self) -> list[tuple[str, str, bytes]]:
        """The requests so far: method, path and body."""
        return [(each.method, each.url.path, each.content) for each in self.asked]


class Bench:
    """A source that can be restarted, with its server and a clock that tests move."""

    def __init__(self, provider: str, url: str, **values: Any) -> None:
        self.provider = PROVIDERS[provider]
        self.server = Server()
        self.clock = FakeClock()
        self.telemetry = SelfMetrics(clock=self.clock.clock)
        self.settings = self.provider.settings.model_validate({"url": url, "retries": 0, **values})
        self.ledger = ledger_of(self.clock)
        self.source = self.connect()
        self.restarts = Restarts(self, self.clock)

    def connect(self, **before: Any) -> Source:
        """Make a source; after a restart, with the readings and the memory from before."""
        context = SourceContext(
            telemetry=self.telemetry.source(self.provider.name, self.settings.name),
            clock=self.clock.clock,
            ledger=self.ledger,
            random=Random(0),  # noqa: S311 - jitter is no secret
            **before,
        )
        http = HttpClient(
            http_options(self.settings),
            clock=self.clock.clock,
            random=context.random,
            transport=httpx.MockTransport(self.server.answer),
        )
        source: Source = resolve_name(self.provider.connector)(self.settings, context, http=http)
        return source

    async def poll(self, task: str = "agents") -> Poll:
        """Poll a task, and keep its readings and memory for a restart."""
        poll = await self.source.poll(task)
        self.restarts.known[task] = poll.readings
        self.restarts.memory[task] = poll.memory
        return poll

    async def readings(self, type_: type[Reading], task: str = "agents") -> list[Any]:
        """Poll a task, and return its readings of a type."""
        return [each for each in (await self.poll(task)).readings if isinstance(each, type_)]

    async def samples(self, task: str = "agents") -> dict[str, float]:
        """Poll a task, and return its samples as `family{label="value",…}`."""
        return exposed(*(await self.poll(task)).readings)

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Ask about a target."""
        return await self.source.explain(kind, target_id)

    def surprises(self, kind: str) -> float:
        """Count the surprises of a kind."""
        labels = {"provider": self.provider.name, "source": self.settings.name, "kind": kind}
        name = "loadfleet_exporter_vendor_surprises_total"
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


def recorded(vendor: str, name: str) -> Any:
    """Return a recorded reply as plain data."""
    return json.loads((FIXTURES / vendor / f"{name}.json").read_text())


def raw(vendor: str, name: str) -> bytes:
    """Return the bytes of a recorded file."""
    return (FIXTURES / vendor / name).read_bytes()
