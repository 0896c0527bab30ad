"""`alert-test`: sends test alerts through Alertmanager to check that notifications arrive."""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TextIO

import msgspec

from exporter.alerts.alerting import notification_options
from exporter.alerts.alertmanager import AlertmanagerClient, Connect
from exporter.alerts.evaluate import Alert, Phase
from exporter.alerts.rule import PREFIX, Severity
from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.commands.configuration import duration, notifying
from exporter.config.types import format_duration
from exporter.errors import CallError, ConfigurationError, PollError
from exporter.http import HttpClient
from exporter.logging import configure
from exporter.process import stop_signals
from exporter.settings import flags


if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from exporter.alerts.alertmanager import NotificationOptions
    from exporter.alerts.settings import AlertingSettings
    from exporter.clock import Moment


#: With the prefix of the real alerts, so that the shipped routes match it.
NAME = f"{PREFIX}Test"

DOCUMENT = (
    "https://github.com/loadfleet/loadfleet-exporter/blob/main/deploy/docs/how-to/alerting.md"
)

SEVERITIES = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)

#: Longer than Alertmanager's default `group_wait` of 30 s, so that it sends notifications.
HOLD_SECONDS = 120.0

#: Added to the alerts' end time. If this process is killed, Alertmanager resolves them then.
SPARE_SECONDS = 60.0

#: Update interval of the remaining time on a terminal.
REDRAW_SECONDS = 1.0


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one Alertmanager to one alert.

    Attributes:
        known: Whether the Alertmanager may have stored the alert.
    """

    client: AlertmanagerClient
    alert: Alert
    text: str
    accepted: bool
    known: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the daemon, the severities and the duration of the test."""
    for flag in (*flags.COMMON, *flags.DAEMON):
        flag.add_to(parser)
    parser.add_argument(
        "--severity",
        action="append",
        choices=[severity.value for severity in SEVERITIES],
        help="send an alert of this severity, repeatable; default: all severities",
    )
    parser.add_argument(
        "--hold",
        type=duration,
        default=HOLD_SECONDS,
        metavar="DURATION",
        help="resolve the alerts after this time; must exceed Alertmanager's group_wait for"
        " notifications to be sent; default 2m, 0 resolves at once",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Send the alerts, wait and resolve them.

    Returns:
        The exit code: 0, or 1 if an Alertmanager did not accept an alert or its end.
    """
    alerting, board = notifying(arguments, environ)
    if not alerting.alertmanagers:
        problem = (
            "alerting.alertmanagers: is empty; add an Alertmanager, or set"
            " LOADFLEET_ALERTING__ALERTMANAGERS"
        )
        raise ConfigurationError([problem])
    secrets = tuple(alerting.secrets())
    configure(
        level="warn", log_format="logfmt", secrets=lambda: [secret.known() for secret in secrets]
    )
    wanted = arguments.severity or SEVERITIES
    return asyncio.run(
        _until_stopped(alerting, board, [Severity(each) for each in wanted], hold=arguments.hold)
    )


def marked(severities: Iterable[Severity], now: Moment, *, host: str) -> list[Alert]:
    """Return a firing alert of each severity, marked as a test.

    Each run uses another source label. With the same label Alertmanager would put a second test
    into the group of the first and delay its notification by `group_interval`.
    """
    begun = datetime.fromtimestamp(now.unix, tz=UTC)
    labels = {
        "alertname": NAME,
        "provider": "test",
        "source": f"alert-test-{begun:%Y%m%dT%H%M%SZ}",
        "instance": host,
    }
    return [
        Alert(
            name=NAME,
            labels={**labels, "severity": severity.value},
            annotations={
                "summary": f"This is a test alert from {host}: nothing is wrong.",
                "description": f"Somebody ran `loadfleet-exporter alert-test` on {host} to check"
                f" that alerts of severity {severity.value} arrive. Nothing is wrong, no action is"
                " needed, and the alert will be resolved automatically.",
                "runbook_url": DOCUMENT,
            },
            value=1.0,
            phase=Phase.FIRING,
            since=now,
            fired=now,
        )
        for severity in dict.fromkeys(severities)
    ]


async def rehearse(  # noqa: PLR0913 - all but the first two by keyword
    clients: Sequence[AlertmanagerClient],
    alerts: Sequence[Alert],
    *,
    hold_seconds: float,
    stop: asyncio.Event,
    clock: Clock,
    out: TextIO,
) -> bool:
    """Send the alerts, hold them, resolve them, and print each step.

    Args:
        clients: The Alertmanagers; each gets all alerts.
        alerts: The firing alerts.
        hold_seconds: How long the alerts fire.
        stop: When set, the alerts are resolved at once.
        clock: The source of time.
        out: The output.

    Returns:
        Whether each Alertmanager has accepted each alert and its end.
    """
    begun = await _post([(client, alert) for client in clients for alert in alerts], clock)
    known = [answer for answer in begun if answer.known]
    try:
        _print_answers(begun, "alert", out)
        if known:
            print(_expectation(alerts[0], hold_seconds), file=out, flush=True)
            await _hold(hold_seconds, stop, clock, out)
    finally:
        # Resolve the alerts even if printing fails.
        now = clock.now()
        ends = [
            msgspec.structs.replace(answer.alert, phase=Phase.RESOLVED, resolved=now)
            for answer in known
        ]
        known_clients = [answer.client for answer in known]
        ended = await _post(list(zip(known_clients, ends, strict=True)), clock)
    _print_answers(ended, "end", out)
    return all(answer.accepted for answer in (*begun, *ended))


async def _until_stopped(
    alerting: AlertingSettings, board: str, severities: Sequence[Severity], *, hold: float
) -> int:
    clock = SYSTEM_CLOCK
    # The jitter of retries needs no cryptographic randomness.
    connect: Connect = partial(HttpClient, clock=clock, random=Random())  # noqa: S311
    options: NotificationOptions = msgspec.structs.replace(
        notification_options(alerting, generator_url=board), hold_seconds=hold + SPARE_SECONDS
    )
    clients = [
        AlertmanagerClient(each, options, connect=connect) for each in alerting.alertmanagers
    ]
    alerts = marked(severities, clock.now(), host=socket.gethostname())
    try:
        with stop_signals() as stop:
            accepted = await rehearse(
                clients, alerts, hold_seconds=hold, stop=stop, clock=clock, out=sys.stdout
            )
    finally:
        await asyncio.gather(*(client.aclose() for client in clients))
    return int(not accepted)


async def _post(
    calls: Sequence[tuple[AlertmanagerClient, Alert]], clock: Clock
) -> Sequence[_Answer]:
    return await asyncio.gather(*(_answer(client, alert, clock) for client, alert in calls))


async def _answer(client: AlertmanagerClient, alert: Alert, clock: Clock) -> _Answer:
    """Send a single alert, so that the answer is about this alert alone."""
    known = True
    try:
        accepted = await client.post([alert], clock.time())
        text = "accepted" if accepted else "refused as invalid, with status 400"
        known = accepted
    except PollError as error:
        accepted = False
        text = f"failed ({error.reason.value}): {str(error).partition(': ')[2] or error}"
        # Without a response the Alertmanager may have the alert; resolving it does no harm.
        known = isinstance(error, CallError) and error.sent and error.status is None
    return _Answer(client=client, alert=alert, text=text, accepted=accepted, known=known)


def _print_answers(answers: Iterable[_Answer], what: str, out: TextIO) -> None:
    for answer in answers:
        severity = answer.alert.labels["severity"]
        print(f"{answer.client.name}  {severity:8}  {what} {answer.text}", file=out, flush=True)


def _expectation(alert: Alert, hold_seconds: float) -> str:
    named = f"{alert.name} of source {alert.labels['source']}"
    if not hold_seconds:
        return (
            f"{named} is resolved at once. This tests that Alertmanager accepts alerts, but sends"
            " no notifications; for those, give --hold."
        )
    return (
        f"{named} fires for {format_duration(hold_seconds)}, or until Ctrl-C.\n"
        "After group_wait (30s in the shipped alertmanager.yml), Alertmanager notifies the"
        " receivers that its routes choose for that severity.\n"
        "Receivers with send_resolved are notified of the end within group_interval (5m in the"
        " shipped file).\n"
        "If nothing arrives but Alertmanager's page shows the alert, its routes or receivers are"
        " wrong."
    )


async def _hold(seconds: float, stop: asyncio.Event, clock: Clock, out: TextIO) -> None:
    end = clock.monotonic() + seconds
    shown = out.isatty()
    while not stop.is_set() and (left := end - clock.monotonic()) > 0:
        if shown:
            out.write(f"\rresolved in {format_duration(math.ceil(left))}\x1b[K")
            out.flush()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(left, REDRAW_SECONDS) if shown else left)
    if shown:
        out.write("\r\x1b[K")
