"""`alert-test`: whether a page would arrive, seen before the first one is due."""

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


#: The shipped routes take it for one of the real alerts.
NAME = f"{PREFIX}Test"

DOCUMENT = (
    "https://github.com/loadfleet/loadfleet-exporter/blob/main/deploy/docs/how-to/alerting.md"
)

SEVERITIES = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)

#: Longer than the usual `group_wait`, so that people are notified.
HOLD_SECONDS = 120.0

#: If this process is killed, its alerts end by themselves after so much longer.
SPARE_SECONDS = 60.0

#: The interval at which the time that is left is shown on a terminal.
REDRAW_SECONDS = 1.0


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one Alertmanager to one alert.

    Attributes:
        known: Whether it may have the alert now.
    """

    client: AlertmanagerClient
    alert: Alert
    text: str
    accepted: bool
    known: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags of the daemon, and what to send."""
    for flag in (*flags.COMMON, *flags.DAEMON):
        flag.add_to(parser)
    parser.add_argument(
        "--severity",
        action="append",
        choices=[severity.value for severity in SEVERITIES],
        help="send an alert of this severity, repeatable; all of them if not given",
    )
    parser.add_argument(
        "--hold",
        type=duration,
        default=HOLD_SECONDS,
        metavar="DURATION",
        help="how long until the alerts are resolved, longer than group_wait so that people are"
        " notified; 2m if not given, 0 is at once",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Send, wait, resolve."""
    alerting, board = notifying(arguments, environ)
    if not alerting.alertmanagers:
        problem = (
            "alerting.alertmanagers: names none that could be told; add one, or set"
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
    """Return an alert of each severity that says that it is a test, firing since now.

    No other test shares its source: Alertmanager would wait for `group_interval` before it told
    of the second one.
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
                "summary": f"This is a test of the alerting from {host}: nothing is wrong.",
                "description": f"Somebody ran `loadfleet-exporter alert-test` on {host} to see"
                f" whether alerts of severity {severity.value} arrive. Nothing is wrong, nobody has"
                " to act, and the alert ends by itself.",
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
    """Send the alerts, hold them, resolve them, and tell of each step.

    Args:
        clients: The Alertmanagers; all are told all alerts.
        alerts: What fires.
        hold_seconds: How long they fire.
        stop: Set to have them resolved at once.
        clock: Where time comes from.
        out: Where to tell.

    Returns:
        Whether each Alertmanager has accepted each alert and its end.
    """
    begun = await _post([(client, alert) for client in clients for alert in alerts], clock)
    known = [answer for answer in begun if answer.known]
    try:
        _tell(begun, "alert", out)
        if known:
            print(_expectation(alerts[0], hold_seconds), file=out, flush=True)
            await _hold(hold_seconds, stop, clock, out)
    finally:
        # Also where nobody can be told any more.
        now = clock.now()
        ends = [
            msgspec.structs.replace(answer.alert, phase=Phase.RESOLVED, resolved=now)
            for answer in known
        ]
        clients_told = [answer.client for answer in known]
        ended = await _post(list(zip(clients_told, ends, strict=True)), clock)
    _tell(ended, "end", out)
    return all(answer.accepted for answer in (*begun, *ended))


async def _until_stopped(
    alerting: AlertingSettings, board: str, severities: Sequence[Severity], *, hold: float
) -> int:
    clock = SYSTEM_CLOCK
    # The jitter of retries is no secret.
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
    """Send one alert in a call of its own, so that the answer is about it."""
    known = True
    try:
        accepted = await client.post([alert], clock.time())
        text = "accepted" if accepted else "refused as invalid, with status 400"
        known = accepted
    except PollError as error:
        accepted = False
        text = f"failed ({error.reason.value}): {str(error).partition(': ')[2] or error}"
        # Without an answer nobody knows; an end does no harm.
        known = isinstance(error, CallError) and error.sent and error.status is None
    return _Answer(client=client, alert=alert, text=text, accepted=accepted, known=known)


def _tell(answers: Iterable[_Answer], what: str, out: TextIO) -> None:
    for answer in answers:
        severity = answer.alert.labels["severity"]
        print(f"{answer.client.name}  {severity:8}  {what} {answer.text}", file=out, flush=True)


def _expectation(alert: Alert, hold_seconds: float) -> str:
    named = f"{alert.name} of source {alert.labels['source']}"
    if not hold_seconds:
        return (
            f"{named} is resolved at once: it was seen that Alertmanager takes alerts, but nobody"
            " is notified. Give --hold for that."
        )
    return (
        f"{named} fires for {format_duration(hold_seconds)}, or until Ctrl-C.\n"
        "After its group_wait, 30s in the shipped alertmanager.yml, Alertmanager notifies those to"
        " whom its routes lead an alert of that severity.\n"
        "Who is told of ends, too, hears of this one by the next group_interval, 5m there.\n"
        "If nothing arrives, look for the alert on Alertmanager's page: there, the routes or the"
        " receiver are wrong."
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
