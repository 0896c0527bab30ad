"""Settings of the built-in alerts: thresholds, Alertmanagers and how to reach them."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from exporter.alerts.rule import PREFIX
from exporter.alerts.table import NAMES, rules
from exporter.alerts.thresholds import RUNBOOK_URL, AlertSettings, Thresholds
from exporter.config.checks import secret_mistakes, tls_mistakes
from exporter.config.secret import Secret
from exporter.config.types import Boolean, FilePath, TimeLimit, Url, WrongValueError, check_url
from exporter.config.validation import Mistake, Section, nearest
from exporter.sources.settings import label_mistakes


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.alerts.rule import Rule
    from exporter.sharding import Shard


_API = re.compile(r"/api/v[0-9]+(?:/alerts)?/*$")


class BasicAuth(Section):
    """A user and the password.

    Attributes:
        username: The user.
        password: The password.
        password_file: A file with it.
    """

    username: str = ""
    password: SecretStr | None = None
    password_file: FilePath | None = None

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        if not self.username or ":" in self.username:
            yield Mistake(("username",), "must be a name without a colon")
        yield from secret_mistakes(self, "password")

    @cached_property
    def secret(self) -> Secret:
        """The password, whichever way it was given."""
        return Secret(self.password, self.password_file)


def _check_base(url: str) -> str:
    if _API.search(url):
        raise WrongValueError("ends in the path of the API, which is added; leave /api/… out")
    return url


class AlertmanagerSettings(Section):
    """One Alertmanager.

    Attributes:
        url: Where it is, without `/api/v2`.
        timeout: Of a call with all its tries.
        basic_auth: A user and the password, for one behind basic authentication.
        bearer_token: Sent with every call.
        bearer_token_file: A file with it.
        ca_file: What its certificate is verified against, in place of the system's authorities.
        insecure_skip_verify: Do not verify its certificate.
        client_cert_file: The certificate shown to it.
        client_key_file: Its key.
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
        """Yield what is wrong although each field is right by itself."""
        if not self.url:
            yield Mistake(("url",), "is missing; give the Alertmanager's URL")
        if self.basic_auth is not None and self.bearer is not None:
            yield Mistake(("basic_auth",), "stands beside a bearer token; remove one")
        yield from secret_mistakes(self, "bearer_token", required=False)
        yield from tls_mistakes(self.ca_file, self.client_cert_file, self.client_key_file)

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret that is sent."""
        if self.bearer is not None:
            yield self.bearer
        if self.basic_auth is not None:
            yield self.basic_auth.secret

    def files(self) -> Iterator[Path]:
        """Yield every file that is read: for TLS, and with a secret."""
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
    # Checked here, so that the mistake stands where the text stands.
    return {"url": _check_base(check_url(value))} if isinstance(value, str) else value


#: An Alertmanager, written as a URL or as a mapping.
Alertmanager = Annotated[AlertmanagerSettings, BeforeValidator(_from_url)]


class AlertingSettings(Section):
    """The built-in alerts; without an Alertmanager they are off.

    Attributes:
        alertmanagers: Whom to tell, each as a URL or a mapping; all of them are told.
        thresholds: What the alerts compare with, here and in the rules for Prometheus.
        alerts: By an alert's name, what is changed of it.
        external_labels: Added to every alert that has no such label of its own.
        evaluation_interval: How often conditions are looked at.
        resend_interval: How often an alert that fires is told again.
        runbook_url: Where the runbooks are served.
        grafana_url: Where the dashboards are, for links in alerts.
    """

    alertmanagers: tuple[Alertmanager, ...] = ()
    thresholds: Thresholds = Thresholds()
    alerts: dict[str, AlertSettings] = Field(default_factory=dict)
    external_labels: dict[str, str] = Field(default_factory=dict)
    evaluation_interval: TimeLimit = 15.0
    resend_interval: TimeLimit = 60.0
    runbook_url: Url = RUNBOOK_URL
    grafana_url: Url | None = None

    def rules(self) -> tuple[Rule, ...]:
        """Return the table of alerts as these settings have it."""
        return rules(self.thresholds, self.alerts)

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret of the way to the Alertmanagers."""
        for each in self.alertmanagers:
            yield from each.secrets()

    def files(self) -> Iterator[Path]:
        """Yield every file that is read."""
        for each in self.alertmanagers:
            yield from each.files()

    def of_shard(self, shard: Shard) -> AlertingSettings:
        """Return how one of several processes that share the targets alerts: under its number.

        Half of the agents being down is judged over a share, so two shares can disagree; with the
        same labels the one would end what the other has begun.
        """
        if shard.total == 1:
            return self
        labels = {"shard": str(shard.index)} | self.external_labels
        return self.model_copy(update={"external_labels": labels})

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        for name in self.alerts:
            if name.removeprefix(PREFIX) not in NAMES:
                yield Mistake(("alerts", name), f"there is no such alert; {nearest(name, NAMES)}")
        yield from label_mistakes(self.external_labels, "external_labels")
        first: dict[str, int] = {}
        for index, each in enumerate(self.alertmanagers):
            if first.setdefault(each.url, index) != index:
                place = ("alertmanagers", index)
                yield Mistake(place, "is listed twice; remove one", place[:1])
