"""The sections of the settings: the list of all, and those that belong to no other package."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from exporter.alerts.settings import AlertingSettings
from exporter.config.address import parse_address
from exporter.config.types import Boolean, FilePath, Url, Whole, WrongValueError, check_url, listed
from exporter.config.validation import Mistake, Section
from exporter.history.settings import HistorySettings
from exporter.logging import Format, Level
from exporter.sources.settings import SourceDefaults
from exporter.state.settings import StateSettings


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.sources.settings import SourceSettings


def _check_address(text: str) -> str:
    try:
        parse_address(text.strip())
    except ValueError as error:
        raise WrongValueError(
            "is not an address; write host:port, [IPv6 address]:port or :port"
        ) from error
    return text.strip()


def _check_prefix(path: str) -> str:
    prefix = path.rstrip("/")
    if not re.fullmatch(r"(/[\w.~-]+)*", prefix, re.ASCII):
        raise WrongValueError("is not a path; write one such as /fleet, of plain characters")
    return prefix


class WebSettings(Section):
    """The web server.

    Attributes:
        listen_address: Addresses to listen on, as `host:port`, `[IPv6 address]:port` or `:port`.
        systemd_socket: Listen on the sockets of a systemd socket unit instead.
        config_file: The web configuration file with TLS, users, headers and rate limit.
        enable_lifecycle: Reload on `POST /-/reload`; otherwise that request is refused with 403.
        external_url: The URL under which the exporter is reachable, for links in alerts to its
            board and runbooks.
        route_prefix: The path prefix of all pages; the path of `external_url` by default.
        max_requests: Maximum number of concurrent requests, not counting those for health and
            readiness. Further requests get 503.
    """

    listen_address: Annotated[
        tuple[Annotated[str, AfterValidator(_check_address)], ...],
        BeforeValidator(listed),
        Field(min_length=1),
    ] = ("0.0.0.0:10871",)
    systemd_socket: Boolean = False
    config_file: FilePath | None = None
    enable_lifecycle: Boolean = False
    external_url: Url | None = None
    route_prefix: Annotated[str, AfterValidator(_check_prefix)] = ""
    max_requests: Annotated[Whole, Field(ge=1)] = 40

    @model_validator(mode="before")
    @classmethod
    def _prefix_of_external_url(cls, data: Any) -> Any:
        """Take the path of `external_url` as prefix, unless a prefix is given."""
        if not isinstance(data, dict) or "route_prefix" in data:
            return data
        try:
            return {**data, "route_prefix": urlsplit(check_url(data["external_url"])).path}
        except (KeyError, ValueError, TypeError, AttributeError):
            return data  # no external_url, or an invalid one, which its own check reports

    def mistakes(self) -> Iterator[Mistake]:
        """Yield a mistake if the web configuration file cannot be read."""
        file = self.config_file
        if file is not None and (file.is_dir() or not os.access(file, os.R_OK)):
            yield Mistake(
                ("config_file",), f"cannot read the file {file}; correct the path or its rights"
            )


def with_runbooks(alerting: AlertingSettings, web: WebSettings) -> AlertingSettings:
    """Return the alert settings with our own runbooks' URL, unless another one is given.

    Without `external_url` the settings stay unchanged.
    """
    if web.external_url is None or "runbook_url" in alerting.model_fields_set:
        return alerting
    return alerting.model_copy(update={"runbook_url": f"{web.external_url.rstrip('/')}/runbooks/"})


class LogSettings(Section):
    """The exporter's log.

    Attributes:
        level: The lowest level to log.
        format: The format of a line.
    """

    level: Level = "info"
    format: Format = "logfmt"


#: Maximum number of shards without shared state. With a wrong token, each shard makes a refused
#: call; up to this number stays below the limit of a vendor with a lock-out.
SAFE_SHARDS = 3


class ShardingSettings(Section):
    """Sharding: the part of the targets that this exporter polls.

    Attributes:
        shard: The index of this shard, from 0; by default the number at the end of the host's name.
        total_shards: The number of shards that divide the targets between them. With a source
            whose vendor has a lock-out, more than 3 shards do not start unless they share their
            state with `state.url` or the risk is accepted.
        accept_lockout_risk: Allow more than 3 shards nevertheless, for instance if all of them run
            on one host and share one `state.path`.
    """

    shard: Annotated[Whole, Field(ge=0)] | None = None
    total_shards: Annotated[Whole, Field(ge=1)] = 1
    accept_lockout_risk: Boolean = False

    def mistakes(self) -> Iterator[Mistake]:
        """Yield a mistake if the index is too large."""
        if self.shard is not None and self.shard >= self.total_shards:
            yield Mistake(
                ("shard",),
                f"must be less than total_shards, {self.total_shards}; shards count from 0",
                ("shard", "total_shards"),
            )


def lockout_danger(
    sharding: ShardingSettings, sources: Sequence[SourceSettings], state: StateSettings
) -> str:
    """Return the risk of a lock-out by shards without shared state; empty if there is none."""
    endangered = [source for source in sources if source.LOCKOUT.block]
    if sharding.total_shards <= SAFE_SHARDS or not endangered or state.url is not None:
        return ""
    return (
        f"with a wrong token, each of {sharding.total_shards} shards without shared state makes a"
        f" refused call to {', '.join(source.name for source in endangered)}, where"
        f" {endangered[0].LOCKOUT.consequence}"
    )


def lockout_mistakes(
    sharding: ShardingSettings, sources: Sequence[SourceSettings], state: StateSettings
) -> Iterator[Mistake]:
    """Yield a mistake for a risk of a lock-out that the settings do not accept."""
    danger = lockout_danger(sharding, sources, state)
    if danger and not sharding.accept_lockout_risk:
        yield Mistake(
            ("sharding", "total_shards"),
            f"{danger}; share the state with state.url, use at most {SAFE_SHARDS} shards, or give"
            " --accept-lockout-risk, for instance if all run on one host with one state.path",
        )


#: The models of all sections except the lists of sources and preflights, by key.
SECTIONS: dict[str, type[Section]] = {
    "defaults": SourceDefaults,
    "web": WebSettings,
    "alerting": AlertingSettings,
    "log": LogSettings,
    "sharding": ShardingSettings,
    "state": StateSettings,
    "history": HistorySettings,
}
SOURCES = "sources"
