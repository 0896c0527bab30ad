"""Sends the alerts to one Alertmanager, and repeats them until it has accepted them.

The worker sends a state, not a queue of events. Every evaluation publishes all alerts, and the
worker sends those that the Alertmanager has not accepted in their newest form, or not recently. So
nothing piles up while the Alertmanager is unreachable, and afterwards it receives the alerts that
fire and those that were resolved meanwhile. An alert that fired and was resolved in between is sent
as resolved. Alertmanager sends no notification about it, because it never saw the alert firing, but
the exporter's log has it.
"""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts.evaluate import Alert, Key, Phase
from exporter.alerts.rule import HEARTBEAT
from exporter.alerts.settings import HEARTBEAT_INTERVALS
from exporter.errors import CallError, PollError, Reason
from exporter.http import Call, HttpClient, HttpOptions, reason_of
from exporter.metrics import own


if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from exporter.alerts.settings import AlertmanagerSettings
    from exporter.clock import Clock
    from exporter.http import Reply
    from exporter.metrics.telemetry import SelfMetrics


Connect = Callable[[HttpOptions], HttpClient]

#: Seconds for which a resolved alert is sent again, as Prometheus does (15 minutes).
REPEAT_RESOLVED_SECONDS = 900.0

#: The most alerts in one call.
BATCH = 256

_OPERATION = "postAlerts"
_PATH = "/api/v2/alerts"


class NotificationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of notifications, the same for all Alertmanagers.

    Attributes:
        resend_seconds: The interval at which a firing alert is sent again.
        hold_seconds: How long an alert keeps firing in Alertmanager if no more calls arrive.
        generator_url: The board's URL, to which alerts without a `board_url` link; may be empty.
        external_labels: Labels added to each alert that does not have them already.
    """

    resend_seconds: float
    hold_seconds: float
    generator_url: str
    external_labels: Mapping[str, str] = {}

    def payload(self, alert: Alert, *, now: float) -> dict[str, object]:
        """Return an alert in the form of `POST /api/v2/alerts`.

        Args:
            alert: A firing or resolved alert.
            now: The Unix time of the call.
        """
        started = alert.fired or alert.since
        # An alert keeps firing for long after the last call, since each resolution is sent. The
        # heartbeat ends soon, so that the service that waits for it raises the alarm.
        silence = self.hold_seconds
        if alert.name == HEARTBEAT:
            silence = HEARTBEAT_INTERVALS * self.resend_seconds
        ends = alert.resolved.unix if alert.resolved else now + silence
        link = alert.annotations.get("board_url") or self.generator_url
        return {
            "labels": {**self.external_labels, **alert.labels},
            "annotations": alert.annotations,
            "startsAt": _rfc3339(started.unix),
            "endsAt": _rfc3339(ends),
            **({"generatorURL": link} if link else {}),
        }


class _Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The newest delivery of an alert.

    Attributes:
        form: The form in which the alert was sent.
        at: When it was sent, in seconds of the monotonic clock.
        accepted: Whether the Alertmanager accepted it.
    """

    form: tuple[Phase, float]
    at: float
    accepted: bool


class AlertmanagerClient:
    """Sends alerts to one Alertmanager, without remembering them.

    Attributes:
        name: The Alertmanager's URL.
    """

    def __init__(
        self, settings: AlertmanagerSettings, options: NotificationOptions, *, connect: Connect
    ) -> None:
        self.name = settings.url
        self._settings = settings
        self._options = options
        self._client = connect(_http_options(settings))
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts")

    async def post(self, alerts: Iterable[Alert], now: float) -> bool:
        """Send alerts in one call.

        Args:
            alerts: At most `BATCH` alerts.
            now: The Unix time.

        Returns:
            Whether the Alertmanager accepted all of them; if not, it refused the invalid ones.

        Raises:
            PollError: The call failed; no alert counts as accepted.
        """
        content = []
        for alert in alerts:
            try:
                content.append(msgspec.json.encode(self._options.payload(alert, now=now)))
            except Exception:  # noqa: BLE001 - one broken alert must not hold back the others
                self._log.exception("alert_not_sent", alert=alert.name, receiver=self.name)
        call = Call(
            operation=_OPERATION,
            method="POST",
            url=f"{self._settings.url.rstrip('/')}{_PATH}",
            headers={"content-type": "application/json", **_credentials(self._settings)},
            content=b"[%s]" % b",".join(content),
        )
        return _accepted(await self._client.send(call))

    async def aclose(self) -> None:
        """Close all connections and abort a call in flight."""
        await self._client.aclose()


class Outcomes:
    """Counts the calls to a receiver and their failures; logs a repeated failure once.

    Args:
        name: The receiver's name in metrics and log.
    """

    def __init__(self, name: str, telemetry: SelfMetrics) -> None:
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts").bind(
            receiver=name
        )
        self._failing = ""
        self._calls = telemetry[own.NOTIFICATIONS].labels(name)
        self._failures = telemetry[own.NOTIFICATION_FAILURES].labels(name)
        self._is_failing = telemetry[own.NOTIFICATIONS_FAILING].labels(name)

    def note_call(self) -> None:
        """Count a call that begins."""
        self._calls.inc()

    def note_success(self) -> None:
        """Note that the newest call succeeded."""
        if self._failing:
            self._log.info("notifications_recovered")
        self.forget_failures()

    def forget_failures(self) -> None:
        """Show the receiver as not failing."""
        self._is_failing.set(0)
        self._failing = ""

    def note_failure(self, reason: str, message: str) -> None:
        """Note that the newest call failed; the message must not hold secrets."""
        self._failures.inc()
        self._is_failing.set(1)
        if self._failing != message:
            self._failing = message
            self._log.warning("notification_failed", reason=reason, message=message)


class Receiver:
    """One Alertmanager, with the alerts that it has accepted.

    Attributes:
        name: The Alertmanager's URL.
        reached: Whether the newest call was answered.
    """

    def __init__(
        self,
        settings: AlertmanagerSettings,
        options: NotificationOptions,
        *,
        telemetry: SelfMetrics,
        clock: Clock,
        connect: Connect,
    ) -> None:
        self.name = settings.url
        self._resend_seconds = options.resend_seconds
        self._clock = clock
        self._client = AlertmanagerClient(settings, options, connect=connect)
        self.reached = True
        self._outcomes = Outcomes(self.name, telemetry)
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts").bind(
            receiver=self.name
        )
        self._alerts: Mapping[Key, Alert] = {}
        self._news = asyncio.Event()
        self._deliveries: dict[Key, _Delivery] = {}

    def publish(self, alerts: Mapping[Key, Alert]) -> None:
        """Take the newest state of all firing and resolved alerts; does not wait."""
        self._alerts = alerts
        self._deliveries = {key: one for key, one in self._deliveries.items() if key in alerts}
        self._news.set()

    def has_accepted(self, key: Key, alert: Alert) -> bool:
        """Return whether the Alertmanager has accepted an alert in its current form."""
        newest = self._deliveries.get(key)
        return newest is not None and newest.accepted and newest.form == _form(alert)

    def mark_delivered(self, key: Key, alert: Alert) -> None:
        """Note that an alert was accepted before a restart."""
        self._deliveries[key] = _Delivery(form=_form(alert), at=-math.inf, accepted=True)

    def rest(self) -> None:
        """Forget failed calls, when another process takes over the sending."""
        self.reached = True
        self._outcomes.forget_failures()

    async def run(self) -> None:
        """Send the published alerts until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self.send_due()
            except Exception:  # noqa: BLE001 - the worker must survive a bug, which is logged
                self._log.exception("notifier_crashed")

    async def send_due(self) -> None:
        """Send the alerts that are due; after a failed call the rest waits for `publish`."""
        now = self._clock.monotonic()
        due = [key for key, alert in self._alerts.items() if self._is_due(key, alert, now)]
        for start in range(0, len(due), BATCH):
            # Looked up only now: an alert may have been resolved during the calls before.
            batch = {
                key: self._alerts[key] for key in due[start : start + BATCH] if key in self._alerts
            }
            if batch and not await self._send(batch):
                return

    async def aclose(self) -> None:
        """Close all connections and abort a call in flight."""
        await self._client.aclose()

    def _is_due(self, key: Key, alert: Alert, now: float) -> bool:
        newest = self._deliveries.get(key)
        if newest is None or newest.form != _form(alert):
            return True
        ended = alert.resolved
        if ended and newest.accepted and now - ended.monotonic > REPEAT_RESOLVED_SECONDS:
            return False
        return now - newest.at >= self._resend_seconds

    async def _send(self, batch: Mapping[Key, Alert]) -> bool:
        """Send one call and count it; return whether the Alertmanager answered."""
        now = self._clock.now()
        self._outcomes.note_call()
        try:
            accepted = await self._client.post(batch.values(), now.unix)
        except PollError as error:
            self._outcomes.note_failure(error.reason.value, str(error))
            self.reached = False
            return False
        self.reached = True
        for key, alert in batch.items():
            self._deliveries[key] = _Delivery(
                form=_form(alert), at=now.monotonic, accepted=accepted
            )
        if accepted:
            self._outcomes.note_success()
        else:
            self._outcomes.note_failure(
                Reason.HTTP_4XX.value, f"{_OPERATION}: Alertmanager refused some alerts as invalid"
            )
        return True


async def tell_ends(
    client: AlertmanagerClient, ended: Sequence[Alert], *, clock: Clock, pause_seconds: float
) -> None:
    """Send resolved alerts to an Alertmanager that is no longer configured, and close the client.

    Failed calls are repeated for `REPEAT_RESOLVED_SECONDS`.

    Args:
        client: The client of that Alertmanager.
        ended: The resolved alerts.
        clock: The clock of the process.
        pause_seconds: The pause before a repetition.
    """
    log = structlog.get_logger("exporter.alerts").bind(receiver=client.name)
    left = [ended[start : start + BATCH] for start in range(0, len(ended), BATCH)]
    begun = clock.monotonic()
    try:
        while left:
            try:
                await client.post(left[0], clock.time())
                del left[0]
            except PollError as error:
                if clock.monotonic() - begun > REPEAT_RESOLVED_SECONDS:
                    log.warning(
                        "resolved_alerts_not_sent", reason=error.reason.value, message=str(error)
                    )
                    return
                await clock.sleep(pause_seconds)
    finally:
        await client.aclose()


def _rfc3339(unix: float) -> str:
    return datetime.fromtimestamp(unix, tz=UTC).isoformat(timespec="milliseconds")


def _form(alert: Alert) -> tuple[Phase, float]:
    """Return the form of an alert, its phase and start; with another form it is sent again."""
    return alert.phase, alert.fired.unix if alert.fired else 0.0


def _accepted(reply: Reply) -> bool:
    """Return whether the Alertmanager accepted all alerts of a call.

    When some alerts are invalid Alertmanager answers 400 and accepts the others, so that an
    immediate repetition is useless.

    Raises:
        CallError: The Alertmanager answered with another status.
    """
    if 200 <= reply.status < 300:
        return True
    if reply.status == 400:
        return False
    text = f"{_OPERATION}: Alertmanager answered with status {reply.status}"
    raise CallError(reason_of(reply.status), text, status=reply.status)


def _credentials(settings: AlertmanagerSettings) -> dict[str, str]:
    """Return the header with the credentials, read each time as the secret file may change."""
    if settings.bearer is not None:
        return {"authorization": f"Bearer {settings.bearer.reveal()}"}
    user = settings.basic_auth
    if user is None:
        return {}
    pair = f"{user.username}:{user.secret.reveal()}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _http_options(settings: AlertmanagerSettings) -> HttpOptions:
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
