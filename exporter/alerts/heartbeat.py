"""The heartbeat: a GET to a URL whose owner raises an alarm when no more calls come.

A call says that this process runs and that its newest evaluation judged every rule. It does not say
that a vendor answers, that polls are on time or that an Alertmanager takes alerts: each of these
has an alert of its own.
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


#: The receiver's name in metrics and log, where no part of the URL may stand.
RECEIVER = "heartbeat_url"

#: The time limit of a call with all its tries.
TIMEOUT_SECONDS = 10.0


class Heartbeat:
    """Sends the heartbeat, in a worker that delays nobody.

    Args:
        url: The address, read anew for each call, as the secret's file may have changed.
        pause_seconds: The least time between the beginnings of two calls.
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
        """Note that an evaluation worked; returns at once."""
        self._worked.set()

    async def run(self) -> None:
        """Send what is due until cancelled."""
        while True:
            await self._worked.wait()
            self._worked.clear()
            try:
                await self.send_due()
            except Exception:  # noqa: BLE001 - the worker must outlive a mistake; it is logged
                structlog.get_logger("exporter.alerts").exception("heartbeat_crashed")

    async def send_due(self) -> None:
        """Send one call unless the one before is too recent, and count it."""
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
        """Close all connections; a call under way ends at once."""
        await self._client.aclose()

    async def _send(self) -> None:
        """Send one call.

        Raises:
            PollError: It was not answered with 2xx.
        """
        call = Call(operation="heartbeat", method="GET", url=self._url.reveal(), secret_url=True)
        status = (await self._client.send(call)).status
        if not 200 <= status < 300:
            text = f"heartbeat: answered with status {status}; check alerting.heartbeat_url"
            raise CallError(reason_of(status), text, status=status)
