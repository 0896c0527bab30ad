"""Settings of the built-in alerts: thresholds, Alertmanagers and how to reach them."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from exporter.alerts.rule import HEARTBEAT, PREFIX
from exporter.alerts.table import NAMES, rules
from exporter.alerts.thresholds import RUNBOOK_URL, AlertSettings, Thresholds
from exporter.config.checks import secret_mistakes, tls_mistakes
from exporter.config.secret import Secret
from exporter.config.types import (
    Boolean,
    FilePath,
    TimeLimit,
    Url,
    WrongValueError,
    check_url,
    format_duration,
)
from exporter.config.validation import Mistake, Section
from exporter.config.words import nearest
from exporter.errors import CallError
from exporter.sources.settings import label_mistakes


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.alerts.rule import Rule
    from exporter.sharding import Shard


#: The number of resend intervals after which Alertmanager ends the heartbeat if no more calls
#: arrive. `hold_on_silence` cannot be shorter, so other alerts never end sooner.
HEARTBEAT_INTERVALS = 4

_API = re.compile(r"/api/v[0-9]+(?:/alerts)?/*$")
_QUERY = re.compile(r"[!-~]*")


class BasicAuth(Section):
    """A user and the password.

    Attributes:
        username: The user.
        password: The password.
        password_file: A file with the password.
    """

    username: str = ""
    password: SecretStr | None = None
    password_file: FilePath | None = None

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the mistakes in the combination of fields."""
        if not self.username or ":" in self.username:
            yield Mistake(("username",), "must be a name without a colon")
        yield from secret_mistakes(self, "password")

    @cached_property
    def secret(self) -> Secret:
        """The password, whichever way it was given."""
        return Secret(self.password, self.password_file)


def _check_base(url: str) -> str:
    if _API.search(url):
        raise WrongValueError("ends in the path of the API, which is added; leave out /api/…")
    return url


class AlertmanagerSettings(Section):
    """One Alertmanager.

    Attributes:
        url: Its base URL, without `/api/v2`.
        timeout: The time limit of a call including its retries.
        basic_auth: User and password, if it demands basic authentication.
        bearer_token: A bearer token, sent with every call.
        bearer_token_file: A file with the bearer token.
        ca_file: The CA certificates that verify its certificate, in place of the system's.
        insecure_skip_verify: Do not verify its certificate.
        client_cert_file: The client certificate presented to it.
        client_key_file: The key of the client certificate.
    """

    url: Annotated[Url, AfterValidator(_check_base)] = ""
    timeout: TimeLimit = 10.0
    basic_auth: BasicAuth | None = None
    bearer_token: SecretStr | None = None
    bearer_token_file: FilePath | None = None
    ca_file: FilePath | None = None
    insecure_skip_verify: Boolean = False
    client_cert_file: FilePath | None = None
    client_key_file: FilePath | None = None

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the mistakes in the combination of fields."""
        if not self.url:
            yield Mistake(("url",), "is missing; give the Alertmanager's URL")
        if self.basic_auth is not None and self.bearer is not None:
            yield Mistake(("basic_auth",), "is given together with a bearer token; remove one")
        yield from secret_mistakes(self, "bearer_token", required=False)
        yield from tls_mistakes(self.ca_file, self.client_cert_file, self.client_key_file)

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret that calls contain."""
        if self.bearer is not None:
            yield self.bearer
        if self.basic_auth is not None:
            yield self.basic_auth.secret

    def files(self) -> Iterator[Path]:
        """Yield every file that is read: TLS files and files with secrets."""
        named = (self.ca_file, self.client_cert_file, self.client_key_file)
        yield from (path for path in named if path is not None)
        yield from (secret.path for secret in self.secrets() if secret.path is not None)

    @cached_property
    def bearer(self) -> Secret | None:
        """The bearer token, whichever way it was given."""
        if self.bearer_token is None and self.bearer_token_file is None:
            return None
        return Secret(self.bearer_token, self.bearer_token_file)


def _from_url(value: object) -> object:
    # Checked here, so that a mistake names the setting itself and not its `url`.
    return {"url": _check_base(check_url(value))} if isinstance(value, str) else value


#: An Alertmanager, written as a URL or as a mapping.
Alertmanager = Annotated[AlertmanagerSettings, BeforeValidator(_from_url)]


class AlertingSettings(Section):
    """The built-in alerts; with neither an Alertmanager nor a heartbeat they are off.

    Attributes:
        alertmanagers: The Alertmanagers, each as a URL or a mapping. All of them receive all
            alerts.
        thresholds: The values that alerts compare with, here and in the rules for Prometheus.
        alerts: Changes of single alerts, by the alert's name.
        external_labels: Labels added to every alert that does not have them already.
        evaluation_interval: The interval at which alerts are evaluated.
        resend_interval: The interval at which a firing alert is sent again.
        hold_on_silence: How long an alert keeps firing in Alertmanager when the exporter sends no
            more calls; at least four resend intervals. Resolved alerts are sent at once, so this
            matters only after the exporter has failed.
        heartbeat_url: A URL called with GET after evaluations that worked, at most once per resend
            interval. The service behind it can raise an alarm when the calls stop.
        heartbeat_url_file: A file with the heartbeat's URL.
        runbook_url: The base URL of the runbooks. If it is not set but `web.external_url` is, the
            exporter serves them itself.
        grafana_url: Grafana's base URL, for links from alerts to the dashboards.
    """

    alertmanagers: tuple[Alertmanager, ...] = ()
    thresholds: Thresholds = Thresholds()
    alerts: dict[str, AlertSettings] = Field(default_factory=dict)
    external_labels: dict[str, str] = Field(default_factory=dict)
    evaluation_interval: TimeLimit = 15.0
    resend_interval: TimeLimit = 60.0
    hold_on_silence: TimeLimit = 14_400.0
    heartbeat_url: SecretStr | None = None
    heartbeat_url_file: FilePath | None = None
    runbook_url: Url = RUNBOOK_URL
    grafana_url: Url | None = None

    def rules(self) -> tuple[Rule, ...]:
        """Return the table of alerts with the changes that these settings make."""
        return rules(self.thresholds, self.alerts)

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret that calls contain."""
        for each in self.alertmanagers:
            yield from each.secrets()
        if self.heartbeat is not None:
            yield self.heartbeat

    def files(self) -> Iterator[Path]:
        """Yield every file that is read."""
        for each in self.alertmanagers:
            yield from each.files()
        if self.heartbeat_url_file is not None:
            yield self.heartbeat_url_file

    @cached_property
    def heartbeat(self) -> Secret | None:
        """The heartbeat's URL, a secret since anybody who knows it can send a heartbeat."""
        if self.heartbeat_url is None and self.heartbeat_url_file is None:
            return None
        return Secret(self.heartbeat_url, self.heartbeat_url_file)

    @property
    def built_in(self) -> bool:
        """True if the exporter evaluates the alerts itself: if there is a receiver."""
        return bool(self.alertmanagers) or self.heartbeat is not None

    def of_shard(self, shard: Shard) -> AlertingSettings:
        """Return the settings of one shard, whose number is an external label of its alerts.

        `HalfOfAgentsDown` is evaluated over the agents of each shard, so two shards can disagree.
        With the same labels one would resolve the alert of the other.
        """
        if shard.total == 1:
            return self
        labels = {"shard": str(shard.index)} | self.external_labels
        return self.model_copy(update={"external_labels": labels})

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the mistakes in the combination of fields."""
        for name in self.alerts:
            if name.removeprefix(PREFIX) not in NAMES:
                yield Mistake(("alerts", name), f"there is no such alert; {nearest(name, NAMES)}")
            if name.startswith(PREFIX) and name.removeprefix(PREFIX) in self.alerts:
                yield Mistake(("alerts", name), "is also given without its prefix; keep one")
            if PREFIX + name.removeprefix(PREFIX) == HEARTBEAT and self.alerts[name].severity:
                text = "must not be set, as the heartbeat always fires; remove it"
                yield Mistake(("alerts", name, "severity"), text)
        yield from label_mistakes(self.external_labels, "external_labels")
        first: dict[str, int] = {}
        for index, each in enumerate(self.alertmanagers):
            if first.setdefault(each.url, index) != index:
                place = ("alertmanagers", index)
                yield Mistake(place, "is listed twice; remove one", place[:1])
        shortest = HEARTBEAT_INTERVALS * max(self.resend_interval, self.evaluation_interval)
        if self.hold_on_silence < shortest:
            yield Mistake(
                ("hold_on_silence",),
                f"must be at least {format_duration(shortest)}, {HEARTBEAT_INTERVALS} intervals,"
                " or alerts would end between two calls",
                ("hold_on_silence", "resend_interval", "evaluation_interval"),
            )
        yield from secret_mistakes(self, "heartbeat_url", required=False)
        yield from self._heartbeat_mistakes()

    def _heartbeat_mistakes(self) -> Iterator[Mistake]:
        if self.heartbeat is None:
            return
        try:
            # Unlike other URLs it may have a query, in which some services expect their key.
            base, _, query = self.heartbeat.reveal().partition("?")
            check_url(base)
            right = _QUERY.fullmatch(query) is not None and "#" not in query
        except CallError:
            return  # `secret_mistakes` reports the unreadable file
        except WrongValueError:
            right = False
        if not right:
            yield Mistake(
                ("heartbeat_url" if self.heartbeat_url_file is None else "heartbeat_url_file",),
                "is not an http or https URL without user and password; write it as"
                " https://host/path",
                ("heartbeat_url", "heartbeat_url_file"),
            )
