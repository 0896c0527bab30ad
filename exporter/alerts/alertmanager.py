"""Tells one Alertmanager, and keeps telling it, until it has heard.

What is to be told is a state and not a queue of events: every evaluation publishes all alerts,
and the worker sends what this Alertmanager has not accepted in its newest form, or long enough
ago. So nothing piles up while it is away, and when it comes back it hears of what fires now and
of what has ended since. An alert that fired and ended in the meantime is sent as ended:
Alertmanager makes no page of what it never saw firing, and the log has it.
"""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts.alert import Alert, Key, Phase
from exporter.errors import CallError, PollError, Reason
from exporter.http import Call, HttpClient, HttpOptions, reason_of


if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from exporter.alerts.settings import AlertmanagerSettings
    from exporter.clock import Clock
    from exporter.http import Reply
    from exporter.metrics.telemetry import SelfMetrics


Connect = Callable[[HttpOptions], HttpClient]

#: An ended alert is told again this long after its end, as Prometheus does.
REPEAT_RESOLVED_SECONDS = 900.0

#: So many resend intervals without a word from us end an alert in Alertmanager.
VALID_INTERVALS = 4

#: So many alerts go in one call.
BATCH = 256

_OPERATION = "postAlerts"
_PATH = "/api/v2/alerts"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What every Alertmanager is told in the same way.

    Attributes:
        resend_seconds: What goes on is told again after this long.
        generator_url: Where people see more: the board.
        external_labels: Added to each alert that has no such label of its own.
    """

    resend_seconds: float
    generator_url: str
    external_labels: Mapping[str, str] = {}

    def payload(self, alert: Alert, *, now: float) -> dict[str, object]:
        """Return an alert as `POST /api/v2/alerts` takes it.

        Args:
            alert: One that fires or has ended.
            now: Seconds since the epoch.
        """
        started = alert.fired or alert.since
        ended = alert.resolved.unix if alert.resolved else None
        # A firing alert ends by itself unless we go on telling, so that a dead exporter does not
        # page for ever; a restart is shorter than that.
        valid_until = now + VALID_INTERVALS * self.resend_seconds
        return {
            "labels": {**self.external_labels, **alert.labels},
            "annotations": alert.annotations,
            "startsAt": rfc3339(started.unix),
            "endsAt": rfc3339(valid_until if ended is None else ended),
            "generatorURL": self.generator_url,
        }


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an Alertmanager was last told of an alert, and whether it took it."""

    phase: Phase
    fired: float
    at: float
    accepted: bool


class Receiver:
    """One Alertmanager.

    Args:
        connect: Makes the client that sends the calls.
    """

    def __init__(
        self,
        settings: AlertmanagerSettings,
        delivery: Delivery,
        *,
        telemetry: SelfMetrics,
        clock: Clock,
        connect: Connect,
    ) -> None:
        self.name = settings.url
        self._settings = settings
        self._delivery = delivery
        self._clock = clock
        self._client = connect(_options(settings))
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts").bind(
            receiver=self.name
        )
        self._alerts: Mapping[Key, Alert] = {}
        self._news = asyncio.Event()
        self._told: dict[Key, _Told] = {}
        self._failing = ""
        self._telemetry = telemetry.receiver(self.name)

    def publish(self, alerts: Mapping[Key, Alert]) -> None:
        """Take the newest state of all alerts that fire or have ended; returns at once."""
        self._alerts = alerts
        self._told = {key: told for key, told in self._told.items() if key in alerts}
        self._news.set()

    def knows(self, key: Key, alert: Alert) -> bool:
        """Tell whether an alert has been accepted in this form."""
        told = self._told.get(key)
        return told is not None and told.accepted and _is_of(told, alert)

    def assume(self, key: Key, alert: Alert) -> None:
        """Take it that an alert was accepted before a restart."""
        self._told[key] = _told(alert, at=-math.inf, accepted=True)

    async def run(self) -> None:
        """Send what is published until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self.tell()
            except Exception:  # noqa: BLE001 - the worker must outlive a mistake; it is logged
                self._log.exception("notifier_crashed")

    async def tell(self) -> None:
        """Send what is due; the first call that fails ends it until the next evaluation."""
        now = self._clock.monotonic()
        due = [key for key, alert in self._alerts.items() if self._is_due(key, alert, now)]
        for start in range(0, len(due), BATCH):
            # Looked up only now: since the list was made, an alert may have ended.
            batch = {
                key: self._alerts[key] for key in due[start : start + BATCH] if key in self._alerts
            }
            if batch and not await self._send(batch):
                return

    async def aclose(self) -> None:
        """Close all connections; a call under way ends at once."""
        await self._client.aclose()

    def _is_due(self, key: Key, alert: Alert, now: float) -> bool:
        told = self._told.get(key)
        if told is None or not _is_of(told, alert):
            return True
        ended = alert.resolved
        if ended and told.accepted and now - ended.monotonic > REPEAT_RESOLVED_SECONDS:
            return False
        return now - told.at >= self._delivery.resend_seconds

    async def _send(self, batch: Mapping[Key, Alert]) -> bool:
        """Send one call, count it, and return whether to go on."""
        now = self._clock.now()
        self._telemetry.sending()
        try:
            accepted = _accepted(await self._client.send(self._call(batch, now.unix)))
        except PollError as error:
            self._note_failure(error.reason.value, str(error))
            return False
        for key, alert in batch.items():
            self._told[key] = _told(alert, at=now.monotonic, accepted=accepted)
        if accepted:
            self._note_success()
        else:
            self._note_failure(
                Reason.HTTP_4XX.value, f"{_OPERATION}: Alertmanager refused some alerts as invalid"
            )
        return True

    def _call(self, batch: Mapping[Key, Alert], now: float) -> Call:
        content = [self._delivery.payload(alert, now=now) for alert in batch.values()]
        return Call(
            operation=_OPERATION,
            method="POST",
            url=f"{self._settings.url.rstrip('/')}{_PATH}",
            headers={"content-type": "application/json", **_credentials(self._settings)},
            content=msgspec.json.encode(content),
        )

    def _note_success(self) -> None:
        self._telemetry.succeeded()
        if self._failing:
            self._failing = ""
            self._log.info("notifications_recovered")

    def _note_failure(self, reason: str, message: str) -> None:
        self._telemetry.failed()
        if self._failing != message:
            self._failing = message
            self._log.warning("notification_failed", reason=reason, message=message)


def rfc3339(unix: float) -> str:
    """Write a time stamp as Alertmanager reads it."""
    return datetime.fromtimestamp(unix, tz=UTC).isoformat(timespec="milliseconds")


def _told(alert: Alert, *, at: float, accepted: bool) -> _Told:
    fired = alert.fired.unix if alert.fired else 0.0
    return _Told(phase=alert.phase, fired=fired, at=at, accepted=accepted)


def _is_of(told: _Told, alert: Alert) -> bool:
    return (told.phase, told.fired) == (alert.phase, alert.fired.unix if alert.fired else 0.0)


def _accepted(reply: Reply) -> bool:
    """Return whether all alerts of a call were taken.

    Alertmanager answers 400 when some are invalid and takes the others, so that there is nothing
    to be gained by trying again at once.

    Raises:
        CallError: None was taken.
    """
    status = reply.status
    if 200 <= status < 300:
        return True
    if status == 400:
        return False
    text = f"{_OPERATION}: Alertmanager answered with status {status}"
    raise CallError(reason_of(status), text, status=status)


def _credentials(settings: AlertmanagerSettings) -> dict[str, str]:
    """Return the header that tells who we are, read anew as the secret's file may have changed."""
    if settings.bearer is not None:
        return {"authorization": f"Bearer {settings.bearer.reveal()}"}
    user = settings.basic_auth
    if user is None:
        return {}
    pair = f"{user.username}:{user.secret.reveal()}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _options(settings: AlertmanagerSettings) -> HttpOptions:
    return HttpOptions(
        connect_timeout=min(HttpOptions().connect_timeout, settings.timeout),
        read_timeout=settings.timeout,
        total_timeout=settings.timeout,
        retries=1,
        connections=1,
        ca_file=settings.ca_file,
        insecure_skip_verify=settings.insecure_skip_verify,
        client_cert_file=settings.client_cert_file,
        client_key_file=settings.client_key_file,
    )
