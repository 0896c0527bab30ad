"""Rules, alerts and an Alertmanager made by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import httpx

from exporter.alerts.evaluate import Alert, Key, Phase
from exporter.alerts.expression import Expression, Select
from exporter.alerts.rule import Rule, Severity
from exporter.alerts.samples import Sample, SampleView, identity, vector
from exporter.clock import Moment
from exporter.http import HttpClient


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.http import HttpOptions
    from tests.support.clock import FakeClock


#: Samples by metric, one by one.
Samples = Mapping[str, Sequence[Sample]]

START = Moment(unix=1_700_000_000.0, monotonic=1_000.0)

DOWN = Select(metric="up").compared("==", 0)


def view_of(samples: Samples) -> SampleView:
    """Return samples in the form that conditions read."""
    return SampleView({metric: partial(vector, found) for metric, found in samples.items()})


def later(seconds: float) -> Moment:
    """Return the moment that long after `START`."""
    return Moment(unix=START.unix + seconds, monotonic=START.monotonic + seconds)


def rule(
    name: str = "Down",
    *,
    hold: float = 300.0,
    keep: float = 0.0,
    expression: Expression = DOWN,
) -> Rule:
    """Make a rule that fires for every series of `up` that is 0."""
    return Rule(
        name=name,
        expression=expression,
        severity=Severity.CRITICAL,
        summary="Something is down.",
        description="{agent} is at {value:humanizeDuration}.",
        hold_seconds=hold,
        keep_seconds=keep,
    )


def alert(
    agent: str = "a",
    *,
    phase: Phase = Phase.FIRING,
    fired: float = 0.0,
    resolved: float | None = None,
    name: str = "Down",
    **changes: Any,
) -> Alert:
    """Make an alert; its times are seconds after `START`."""
    facts: dict[str, Any] = {
        "name": name,
        "labels": {"alertname": name, "severity": "critical", "agent": agent, "source": "prod"},
        "annotations": {"summary": "Something is down."},
        "value": 0.0,
        "phase": phase if resolved is None else Phase.RESOLVED,
        "since": later(fired - 300),
        "fired": None if phase is Phase.PENDING else later(fired),
        "resolved": None if resolved is None else later(resolved),
    }
    return Alert(**(facts | changes))


def keyed(*alerts: Alert) -> dict[Key, Alert]:
    """Return alerts by their keys."""
    return {identity(one.labels): one for one in alerts}


class FakeAlertmanager:
    """Takes alerts, and keeps those of each call.

    Attributes:
        status: The status of its answers.
        calls: The alerts of each call that was answered with 200.
        hosts: The hosts that the calls were sent to.
        headers: The headers of the newest call.
        open: Cleared to let calls hang.
        on_call: Called with each call before it is answered.
    """

    def __init__(self, time: FakeClock) -> None:
        self._time = time
        self.status = 200
        self.calls: list[list[dict[str, Any]]] = []
        self.hosts: list[str] = []
        self._told: list[tuple[str, str]] = []
        self.attempts = 0
        self.urls: list[str] = []
        self.headers = httpx.Headers()
        self.open = asyncio.Event()
        self.open.set()
        self.on_call: Callable[[], None] = lambda: None

    def connect(self, options: HttpOptions) -> HttpClient:
        """Make a client whose calls end here."""
        return HttpClient(
            options,
            clock=self._time.clock,
            random=Random(1),  # noqa: S311 - jitter is no secret
            transport=httpx.MockTransport(self._answer),
        )

    def told(self) -> list[tuple[str, str]]:
        """Return and forget the received alerts about agents, with their states."""
        told, self._told = self._told, []
        self.calls.clear()
        self.hosts.clear()
        return told

    def taken(self) -> list[dict[str, Any]]:
        """Return the alerts of all calls."""
        return [one for call in self.calls for one in call]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.attempts += 1
        self.urls.append(str(request.url))
        self.headers = request.headers
        self.on_call()
        await self.open.wait()
        if self.status == 200:
            alerts = json.loads(request.content)
            self.calls.append(alerts)
            self.hosts.append(request.url.host)
            self._told += [
                (one["labels"]["agent"], "resolved" if self.has_ended(one) else "firing")
                for one in alerts
                if "agent" in one["labels"]
            ]
        return httpx.Response(self.status, stream=httpx.ByteStream(b""))

    def has_ended(self, alert: dict[str, Any]) -> bool:
        """Return whether an alert was received as ended."""
        return datetime.fromisoformat(alert["endsAt"]).timestamp() <= self._time.unix
