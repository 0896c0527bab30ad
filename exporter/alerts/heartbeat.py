"""The heartbeat: calls a URL with GET; the service behind it raises an alarm when calls stop.

A call shows that this process runs and that its newest evaluation evaluated every rule. It does not
show that a vendor answers, that polls are on time or that an Alertmanager accepts alerts: each of
these has an alert of its own.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import structlog

from exporter.alerts.alertmanager import Connect, Outcomes
from exporter.errors import CallError, PollError
from exporter.http import Call, HttpOptions, reason_of


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.config.secret import Secret
    from exporter.metrics.telemetry import SelfMetrics


#: The receiver's name in metrics and log, which must not contain a part of the secret URL.
RECEIVER = "heartbeat_url"

#: The time limit of a call including its retries.
TIMEOUT_SECONDS = 10.0


class Heartbeat:
    """Sends the heartbeat, in a task of its own so that it does not delay evaluations.

    Args:
        url: The URL, read again for each call as the secret file may change.
        pause_seconds: The least time between the starts of two calls.
    """

    def __init__(
        self,
        url: Secret,
        *,
        pause_seconds: float,
        telemetry: SelfMetrics,
        clock: Clock,
        connect: Connect,
    ) -> None:
        self._url = url
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._client = connect(
            HttpOptions(
                read_timeout=TIMEOUT_SECONDS,
                total_timeout=TIMEOUT_SECONDS,
                retries=1,
                connections=1,
            )
        )
        self._outcomes = Outcomes(RECEIVER, telemetry)
        self._worked = asyncio.Event()
        self._sent = -math.inf

    def beat(self) -> None:
        """Note that an evaluation worked; does not wait."""
        self._worked.set()

    async def run(self) -> None:
        """Send the due calls until cancelled."""
        while True:
            await self._worked.wait()
            self._worked.clear()
            try:
                await self.send_due()
            except Exception:  # noqa: BLE001 - the worker must survive a bug, which is logged
                structlog.get_logger("exporter.alerts").exception("heartbeat_crashed")

    async def send_due(self) -> None:
        """Send one call and count it, unless the call before is too recent."""
        now = self._clock.monotonic()
        if now - self._sent < self._pause_seconds:
            return
        self._sent = now
        self._outcomes.note_call()
        try:
            await self._send()
        except PollError as error:
            self._outcomes.note_failure(error.reason.value, str(error))
        else:
            self._outcomes.note_success()

    async def aclose(self) -> None:
        """Close all connections and abort a call in flight."""
        await self._client.aclose()

    async def _send(self) -> None:
        """Send one call.

        Raises:
            PollError: The call failed or was not answered with 2xx.
        """
        call = Call(operation="heartbeat", method="GET", url=self._url.reveal(), secret_url=True)
        status = (await self._client.send(call)).status
        if not 200 <= status < 300:
            text = f"heartbeat: answered with status {status}; check alerting.heartbeat_url"
            raise CallError(reason_of(status), text, status=status)
