"""Fixtures of Eggplant DAI and a server that answers from memory."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

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
    """Make the settings of a source whose token is given, unless told otherwise."""
    return EggplantSettings.model_validate({"url": URL, "auth": GIVEN, "retries": 0, **values})


class Server:
    """An Eggplant DAI server that answers as it is told and remembers what it was asked.

    Attributes:
        asks, logins: The calls of either sort.
        status: Status and body of the reply to a good token.
        login: Status and body of the reply to a login; by default a new token.
        accepted: The tokens that are good; a login adds its own.
        gate: Awaited before each reply.
    """

    def __init__(self, body: bytes = b"[]") -> None:
        self.asks: list[httpx.Request] = []
        self.logins: list[httpx.Request] = []
        self.status: tuple[int, bytes] = (200, body)
        self.login: tuple[int, bytes] | None = None
        self.expires_in: object = 300
        self.accepted = {"given-token"}
        self.gate: Callable[[], Awaitable[object]] | None = None

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request as a transport does."""
        is_ask = request.url.path == "/api/sut/status"
        (self.asks if is_ask else self.logins).append(request)
        if self.gate is not None:
            await self.gate()
        status, body = self._status(request) if is_ask else self._login()
        return httpx.Response(status, content=body)

    def _status(self, request: httpx.Request) -> tuple[int, bytes]:
        token = request.headers["authorization"].removeprefix("bearer ")
        if token not in self.accepted:
            return 401, fixture("sut_status.401")
        return self.status

    def _login(self) -> tuple[int, bytes]:
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
        self.context = SourceContext(
            telemetry=self.telemetry.source("eggplant", self.settings.name),
            clock=self.clock.clock,
            ledger=ledger_of(self.clock),
            random=Random(0),  # noqa: S311 - jitter is no secret
        )
        self.http = HttpClient(
            http_options(self.settings),
            clock=self.clock.clock,
            random=self.context.random,
            transport=httpx.MockTransport(self.server.answer),
        )
        self.source = connect(self.settings, self.context, http=self.http)

    def count(self, name: str, **labels: str) -> float:
        """Return the value of one of the exporter's own counters."""
        own = {"provider": "eggplant", "source": self.settings.name, **labels}
        return self.telemetry.registry.get_sample_value(f"loadfleet_exporter_{name}", own) or 0.0
