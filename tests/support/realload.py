"""A Real Load portal made of fixtures, and a source over it with the real guard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

from exporter.http import Call, Reply
from exporter.metrics.catalogue import PREFIX
from exporter.metrics.mapping import samples
from exporter.metrics.telemetry import SelfMetrics, SourceMetrics
from exporter.sources.base import SourceContext
from exporter.sources.realload.settings import RealLoadSettings
from exporter.sources.realload.source import connect
from tests.support.clock import FakeClock
from tests.support.ledger import ledger_of


if TYPE_CHECKING:
    from exporter.fleet.readings import Reading
    from exporter.http import HttpClient
    from exporter.lockout.ledger import Ledger
    from exporter.sources.base import Source


FIXTURES = Path(__file__).parent.parent / "fixtures" / "realload"

TOKEN = "portal-token"

#: The script of an action: a fixture's case, a reply, an error to raise, or a function of the
#: request that returns one of these.
Script = str | bytes | dict[str, Any] | Reply | Exception | Callable[[dict[str, Any]], Any]


def fixture(name: str) -> Any:
    """Read a fixture, `<action>.<case>`."""
    return json.loads((FIXTURES / f"{name}.json").read_text())


def reply(body: Any, status: int = 200) -> Reply:
    """Make a reply from plain data or bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers={}, body=content)


def run_detail(request: dict[str, Any]) -> Any:
    """Make the detail of the run that is asked for: the printed example with other ids.

    Without counts of jobs, which would have to fit the list.
    """
    ids = {key: request[key] for key in ("testExecutionSuiteId", "testRunId")}
    detail = fixture("getTestExecutionSuiteTestRunResultDetail.ok")
    result = detail["testRunResultDetail"]["testRunResult"]
    result["testRunId"] = ids["testRunId"]
    result["testExecutionSuite"]["testExecutionSuiteId"] = ids["testExecutionSuiteId"]
    result["executorLog"] |= ids
    result["testRunExecutionGroupResultArray"] = []
    for count in ("ToExecute", "ExecutionPassed", "ExecutionFailed"):
        del result[f"numTestjobTemplates{count}"]
    for job in result["testRunTestjobResultArray"]:
        job.update(ids)
    return detail


class FakePortal:
    """Stands in the place of the HTTP client and answers as scripted.

    Attributes:
        script: By action.
        requests: The bodies that were sent, in their order.
        delay: Awaited before each answer.
    """

    def __init__(self, script: Mapping[str, Script] | None = None) -> None:
        self.script: dict[str, Script] = {
            "getUserAccountInfo": "ok_inferred",
            "getTestExecutionSuiteTestRunResultDetail": run_detail,
            **(script or {}),
        }
        self.requests: list[dict[str, Any]] = []
        self.delay: Callable[[dict[str, Any]], Awaitable[object]] | None = None
        self.under_way = 0
        self.most_under_way = 0
        self.closed = False

    @property
    def asked(self) -> list[str]:
        """The actions that were called."""
        return [request["action"] for request in self.requests]

    async def send(self, call: Call) -> Reply:
        request = json.loads(call.content)
        self.requests.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await (self.delay(request) if self.delay else asyncio.sleep(0))
            return self._answer(request)
        finally:
            self.under_way -= 1

    async def aclose(self) -> None:
        self.closed = True

    def _answer(self, request: dict[str, Any]) -> Reply:
        answer: Any = self.script[request["action"]]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            answer = fixture(answer if "." in answer else f"{request['action']}.{answer}")
        return answer if isinstance(answer, Reply) else reply(answer)


class Rig:
    """A source over a fake portal, with everything a test asks of it."""

    def __init__(
        self,
        script: Mapping[str, Script] | None = None,
        *,
        ledger: Ledger | None = None,
        **settings: Any,
    ) -> None:
        self.portal = FakePortal(script)
        self.time = FakeClock()
        self.telemetry = SelfMetrics(clock=self.time.clock)
        self.ledger = ledger or ledger_of(self.time)
        self.settings = RealLoadSettings.model_validate(
            {
                "name": "prod",
                "url": "https://portal.example.net/RemoteUserAPI",
                "auth_token": TOKEN,
                **settings,
            }
        )
        self.source = self.connect()

    def connect(self, **before: Any) -> Source:
        """Make a source, another one after a restart with what its context has from before."""
        self.context = SourceContext(
            telemetry=self.of_source,
            clock=self.time.clock,
            ledger=self.ledger,
            random=Random(0),  # noqa: S311 - jitter is no secret
            **before,
        )
        return connect(self.settings, self.context, http=cast("HttpClient", self.portal))

    @property
    def of_source(self) -> SourceMetrics:
        return self.telemetry.source("realload", "prod")

    async def readings(self, task: str) -> tuple[Reading, ...]:
        """Poll and return the readings, of a poll in which nothing may fail."""
        poll = await self.source.poll(task)
        assert () == poll.failures
        return poll.readings

    def surprises(self, kind: str) -> float:
        """Count the surprises of a kind."""
        return self.own(
            "loadfleet_exporter_vendor_surprises_total",
            provider="realload",
            source="prod",
            kind=kind,
        )

    def requests(self, operation: str, outcome: str) -> float:
        """Count the calls with an outcome."""
        return self.own(
            "loadfleet_exporter_http_requests_total",
            provider="realload",
            source="prod",
            operation=operation,
            outcome=outcome,
        )

    def own(self, name: str, **labels: str) -> float:
        """Read an own metric, 0 where there is no such series."""
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


def exposed(*readings: Reading) -> dict[str, float]:
    """Write readings' samples as `family{label="value",…}`, without the common prefix."""
    lines: dict[str, float] = {}
    for reading in readings:
        for sample in samples(reading):
            pairs = zip(sample.family.labels, sample.labels, strict=True)
            labels = ",".join(f'{name}="{value}"' for name, value in pairs)
            lines[f"{sample.family.name.removeprefix(PREFIX)}{{{labels}}}"] = sample.value
    return lines
