"""The heartbeat: when it is sent, and that its URL is never shown."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from exporter.alerts.alerting import AlertingContext, BuiltInAlerts
from exporter.alerts.evaluate import Evaluator, Phase
from exporter.alerts.heartbeat import RECEIVER
from exporter.alerts.memory import AlertMemory
from exporter.alerts.rule import Links
from exporter.alerts.settings import AlertingSettings
from exporter.fleet.store import Store
from exporter.http import HttpClient
from exporter.metrics import own
from exporter.metrics.telemetry import SelfMetrics
from exporter.sharding import Shard
from exporter.simulator.server import serve
from tests.support.alerts import rule
from tests.support.clock import FakeClock
from tests.support.processes import free_port
from tests.support.state import LastingState
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request


SECRET = "CANARY-5f2c"


class Watchman:
    """Waits for heartbeats, over a real connection.

    Attributes:
        heard: Method and path of each call, once it is answered or hangs.
        status: The status of its answers.
        open: Cleared to let calls hang.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.status = 200
        self.open = asyncio.Event()
        self.open.set()

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._take, methods=["GET", "POST"])])

    async def _take(self, request: Request) -> Response:
        self.heard.append(f"{request.method} {request.url.path}")
        await self.open.wait()
        return Response("OK", status_code=self.status)


class Bench:
    """Built-in alerts whose clock is the test's."""

    def __init__(self, watchman: Watchman, url: str) -> None:
        self.watchman = watchman
        self.url = url
        self.time = FakeClock()
        self.telemetry = SelfMetrics(clock=self.time.clock)
        self.telemetry[own.RELOAD_SUCCESSFUL].set(1)
        self.alerts = BuiltInAlerts(
            AlertingContext(
                store=Store(self.time.clock),
                telemetry=self.telemetry,
                clock=self.time.clock,
                started=lambda: True,
                memory=AlertMemory(
                    LastingState(self.time.clock.monotonic), namespace="n", shard=Shard()
                ),
                connect=partial(HttpClient, clock=self.time.clock, random=Random(1)),  # noqa: S311 - jitter is no secret
            )
        )

    async def apply(self, **settings: Any) -> None:
        """Go over to other settings and wait for their first evaluation."""
        await self.alerts.apply(
            AlertingSettings.model_validate(settings), generator_url="http://b/"
        )
        await self.evaluated()

    async def evaluated(self) -> None:
        """Wait until the evaluation under way is over and the ticker sleeps."""
        await until(lambda: self.time.sleepers)

    async def evaluations(self, count: int) -> None:
        """Let evaluations take place, 15 seconds apart."""
        for _ in range(count):
            await self.time.advance(15)
            await self.evaluated()

    async def heard(self, count: int) -> list[str]:
        """Return what the watchman has heard as soon as that many calls were counted."""
        await until(lambda: self.counted("notifications_total") == count)
        await until(lambda: len(self.watchman.heard) == count)
        return self.watchman.heard

    def counted(self, name: str) -> float | None:
        return self.telemetry.registry.get_sample_value(
            f"loadfleet_exporter_{name}", {"receiver": RECEIVER}
        )

    def shown(self) -> str:
        """Return all own metrics as text."""
        return str([metric.samples for metric in self.telemetry.registry.collect()])


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    watchman = Watchman()
    async with serve(watchman.app()) as url:
        made = Bench(watchman, url)
        try:
            yield made
        finally:
            await made.alerts.stop()
            watchman.open.set()


async def test_it_is_sent_once_per_resend_interval() -> None:
    """The first evaluation sends one, and of the next four, only the fourth."""
    async with bench() as b:
        await b.apply(heartbeat_url=f"{b.url}/ping/{SECRET}")
        await b.heard(1)
        await b.evaluations(3)
        early = b.counted("notifications_total")

        await b.evaluations(1)

        assert [f"GET /ping/{SECRET}"] * 2 == await b.heard(2)
        assert 1.0 == early


async def test_it_needs_no_alertmanager() -> None:
    """A heartbeat must be sent without Alertmanagers, as when Prometheus evaluates the rules."""
    async with bench() as b:
        await b.alerts.apply(AlertingSettings(), generator_url="http://b/")
        off = b.alerts.active()

        await b.apply(heartbeat_url=b.url)

        assert off is None
        assert b.alerts.active() is not None
        assert ["GET /"] == await b.heard(1)


async def test_an_evaluation_that_crashes_sends_none() -> None:
    """An evaluation that crashes must send no heartbeat."""
    async with bench() as b:
        await b.apply(heartbeat_url=b.url)
        await b.heard(1)
        running: Any = b.alerts._alerting
        running._judge = None

        with capture_logs() as logged:
            await b.evaluations(8)

        assert ["evaluation_crashed"] * 8 == [entry["event"] for entry in logged]
        assert 1.0 == b.counted("notifications_total")


async def test_a_rule_that_cannot_be_judged_sends_none() -> None:
    """A rule that fails must suppress the heartbeat, until the rule can be evaluated again."""
    async with bench() as b:
        await b.apply(heartbeat_url=b.url)
        await b.heard(1)
        running: Any = b.alerts._alerting
        whole = running._evaluator
        nonsense: Any = None
        running._evaluator = Evaluator(
            [rule(expression=nonsense)], links=Links(runbook_url="http://runbooks.test")
        )
        with capture_logs():
            await b.evaluations(8)
        meanwhile = b.counted("notifications_total")

        running._evaluator = whole
        await b.evaluations(1)

        await b.heard(2)
        assert 1.0 == meanwhile


async def test_one_that_hangs_delays_no_evaluation() -> None:
    """A heartbeat that hangs must delay no evaluation, and calls must not pile up behind it."""
    async with bench() as b:
        b.watchman.open.clear()
        b.telemetry[own.RELOAD_SUCCESSFUL].set(0)
        await b.apply(heartbeat_url=b.url)
        await b.heard(1)

        await b.evaluations(20)

        fires = {one.name: one.phase for one in b.alerts.active() or ()}
        assert Phase.FIRING == fires["LoadFleetReloadFailed"]
        assert 1.0 == b.counted("notifications_total")


async def test_a_failure_is_counted_each_time_and_logged_once() -> None:
    """And when it is over, that is logged too."""
    async with bench() as b:
        b.watchman.status = 500

        with capture_logs() as logged:
            await b.apply(heartbeat_url=f"{b.url}/{SECRET}")
            await until(lambda: b.counted("notification_failures_total") == 1)
            await b.evaluations(4)
            await until(lambda: b.counted("notification_failures_total") == 2)
            failing = b.counted("notifications_failing")
            b.watchman.status = 200
            await b.evaluations(4)
            await until(lambda: b.counted("notifications_failing") == 0)

        assert 1.0 == failing
        assert [("notification_failed", "http_5xx"), ("notifications_recovered", None)] == [
            (entry["event"], entry.get("reason")) for entry in logged
        ]
        assert SECRET not in f"{logged}{b.shown()}"


@pytest.mark.parametrize(("scheme", "reason"), [("http", "connect"), ("https", "tls")])
async def test_nothing_of_the_url_is_shown_when_it_cannot_be_reached(
    scheme: str, reason: str
) -> None:
    """When the heartbeat's URL cannot be reached, its path must be neither logged nor shown."""
    async with bench() as b:
        place = b.url.partition("//")[2] if scheme == "https" else f"127.0.0.1:{free_port()}"

        with capture_logs() as logged:
            await b.apply(heartbeat_url=f"{scheme}://{place}/{SECRET}")
            # A connection that failed is tried once more.
            await until(lambda: b.counted("notifications_failing") == 1 or b.time.sleepers > 1)
            await b.time.advance(5)
            await until(lambda: b.counted("notifications_failing") == 1)

        assert [reason] == [entry["reason"] for entry in logged]
        assert SECRET not in f"{logged}{b.shown()}"


async def test_a_reload_goes_over_to_another_url() -> None:
    """At once, and without one there are neither calls nor series."""
    async with bench() as b:
        await b.apply(heartbeat_url=f"{b.url}/one")
        await b.heard(1)

        await b.apply(heartbeat_url=f"{b.url}/two")

        await until(lambda: b.watchman.heard == ["GET /one", "GET /two"])
        await b.alerts.apply(AlertingSettings(), generator_url="http://b/")
        assert RECEIVER not in b.shown()


async def test_a_file_is_read_anew_for_each_call(tmp_path: Path) -> None:
    """Rotation needs no restart; a file that is gone is a failure that names it."""
    async with bench() as b:
        file = tmp_path / "url"
        file.write_text(f"{b.url}/one\n")
        await b.apply(heartbeat_url_file=str(file))
        await b.heard(1)
        file.write_text(f"{b.url}/the-second\n")
        await b.evaluations(4)
        await b.heard(2)
        file.unlink()

        with capture_logs() as logged:
            await b.evaluations(4)
            await until(lambda: b.counted("notifications_failing") == 1)

        assert ["GET /one", "GET /the-second"] == b.watchman.heard
        assert [str(file)] == [
            word.removesuffix(":") for e in logged for word in e["message"].split() if "/" in word
        ]
