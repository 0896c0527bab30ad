"""Fixtures of Eggplant DAI and a server that answers from memory."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import httpx

from exporter.http import HttpClient
from exporter.metrics.telemetry import SelfMetrics
from exporter.sources.base import SourceContext
from exporter.sources.calls import http_options
from exporter.sources.eggplant.settings import EggplantSettings
from exporter.sources.eggplant.source import connect
from tests.support.clock import FakeClock
from tests.support.ledger import ledger_of


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.sources.base import Source


FIXTURES = Path(__file__).parents[2] / "fixtures" / "eggplant"

URL = "http://dai.example:8000"
GIVEN: dict[str, Any] = {"access_token": "given-token"}
CLIENT: dict[str, Any] = {
    "token_url": "/auth/realms/eggplant/protocol/openid-connect/token",
    "client_id": "client:dai:agents",
    "client_secret": "client-secret",
}


def fixture(name: str) -> bytes:
    """Return the body of a recorded reply."""
    return (FIXTURES / f"{name}.json").read_bytes()


def settings_of(**values: Any) -> EggplantSettings:
    """Make the settings of a source, by default with a given token."""
    return EggplantSettings.model_validate({"url": URL, "auth": GIVEN, "retries": 0, **values})


class Server:
    """An Eggplant DAI server with scripted answers, which keeps its requests.

    Attributes:
        asks, questions, logins: The calls of each sort: for the agents, for a run, for a token.
        status: Status and body of the reply with the agents.
        progress: Status and body of the reply about a run, by the run's id.
        progress_gate: Awaited before each reply to such a question.
        login: Status and body of the reply to a login; by default a new token.
        accepted: The accepted tokens; a login adds its own.
        gate: Awaited before each reply.
    """

    def __init__(self, body: bytes = b"[]") -> None:
        self.asks: list[httpx.Request] = []
        self.questions: list[httpx.Request] = []
        self.logins: list[httpx.Request] = []
        self.status: tuple[int, bytes] = (200, body)
        self.progress: dict[str, tuple[int, bytes]] = {}
        self.progress_gate: Callable[[], Awaitable[object]] | None = None
        self.login: tuple[int, bytes] | None = None
        self.expires_in: object = 300
        self.accepted = {"given-token"}
        self.gate: Callable[[], Awaitable[object]] | None = None

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request as a transport does."""
        calls, answer = {
            "/api/sut/status": (self.asks, self._status),
            "/api/run/progress": (self.questions, self._progress),
        }.get(request.url.path, (self.logins, self._login))
        calls.append(request)
        if self.gate is not None:
            await self.gate()
        if calls is self.questions and self.progress_gate is not None:
            await self.progress_gate()
        status, body = answer(request) if self._knows(request) else self._refusal
        return httpx.Response(status, content=body)

    @property
    def asked_for(self) -> list[str]:
        """The ids of the runs that were asked for, in order."""
        return [parse_qs(each.content.decode())["id"][0] for each in self.questions]

    @property
    def _refusal(self) -> tuple[int, bytes]:
        return 401, fixture("sut_status.401")

    def _knows(self, request: httpx.Request) -> bool:
        token = request.headers.get("authorization")
        return token is None or token.removeprefix("bearer ") in self.accepted

    def _status(self, _: httpx.Request) -> tuple[int, bytes]:
        return self.status

    def _progress(self, request: httpx.Request) -> tuple[int, bytes]:
        (run_id,) = parse_qs(request.content.decode())["id"]
        return self.progress.get(run_id, (200, b"[]"))

    def _login(self, _: httpx.Request) -> tuple[int, bytes]:
        if self.login is not None:
            return self.login
        token = f"token-{len(self.logins)}"
        self.accepted.add(token)
        return 200, json.dumps({"access_token": token, "expires_in": self.expires_in}).encode()


class Bench:
    """A source at its server, on a clock that tests move."""

    def __init__(self, server: Server | None = None, **values: Any) -> None:
        self.server = server or Server()
        self.clock = FakeClock(unix=1_770_110_400.0)
        self.telemetry = SelfMetrics(clock=self.clock.clock)
        self.settings = settings_of(**values)
        self.ledger = ledger_of(self.clock)
        self.source = self.connect()

    def connect(self, **before: Any) -> Source:
        """Make a source, another one after a restart with what its context has from before."""
        self.context = SourceContext(
            telemetry=self.telemetry.source("eggplant", self.settings.name),
            clock=self.clock.clock,
            ledger=self.ledger,
            random=Random(0),  # noqa: S311 - jitter is no secret
            **before,
        )
        self.http = HttpClient(
            http_options(self.settings),
            clock=self.clock.clock,
            random=self.context.random,
            transport=httpx.MockTransport(self.server.answer),
        )
        return connect(self.settings, self.context, http=self.http)

    def count(self, name: str, **labels: str) -> float:
        """Return the value of one of the exporter's own counters."""
        own = {"provider": "eggplant", "source": self.settings.name, **labels}
        return self.telemetry.registry.get_sample_value(f"loadfleet_exporter_{name}", own) or 0.0
