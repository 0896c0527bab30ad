"""The settings' parts: the list of all, and those that belong to no other package."""

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
        listen_address: Where to listen, as `host:port`, `[IPv6 address]:port` or `:port`.
        systemd_socket: Listen on the sockets of a systemd socket unit instead.
        config_file: The web configuration file with TLS, users, headers and rate limit.
        enable_lifecycle: Reload on `POST /-/reload`; without it that is refused with 403.
        external_url: The URL under which others reach this, for links in alerts to its board and
            runbooks.
        route_prefix: The path below which everything is served; that of `external_url` if not
            given.
        max_requests: Requests under way at once, beside those for health and readiness; who comes
            on top gets 503.
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
        """Serve below the path by which others reach us, unless told otherwise."""
        if not isinstance(data, dict) or "route_prefix" in data:
            return data
        try:
            return {**data, "route_prefix": urlsplit(check_url(data["external_url"])).path}
        except (KeyError, ValueError, TypeError, AttributeError):
            return data  # nothing given, or nothing that its own check lets pass

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        file = self.config_file
        if file is not None and (file.is_dir() or not os.access(file, os.R_OK)):
            yield Mistake(
                ("config_file",), f"cannot read the file {file}; correct the path or its rights"
            )


def with_runbooks(alerting: AlertingSettings, web: WebSettings) -> AlertingSettings:
    """Return how to alert with links to our own runbooks, if we have a URL and none is named."""
    if web.external_url is None or "runbook_url" in alerting.model_fields_set:
        return alerting
    return alerting.model_copy(update={"runbook_url": f"{web.external_url.rstrip('/')}/runbooks/"})


class LogSettings(Section):
    """Our own log.

    Attributes:
        level: The lowest level that is logged.
        format: The form of a line.
    """

    level: Level = "info"
    format: Format = "logfmt"


#: Shards that know nothing of each other and still cause fewer refused calls in a minute than a
#: vendor with a lock-out takes.
SAFE_SHARDS = 3


class ShardingSettings(Section):
    """The share of the targets that is ours.

    Attributes:
        shard: Which share, from 0; the number at the end of the host's name if not given.
        total_shards: Into how many shares the targets are divided. More than 3 do not start with a
            source whose vendor has a lock-out, unless they share their state by `state.url` or
            the risk is accepted.
        accept_lockout_risk: Start more than 3 shards nevertheless, for instance where all of them
            run on one host and share one `state.path`.
    """

    shard: Annotated[Whole, Field(ge=0)] | None = None
    total_shards: Annotated[Whole, Field(ge=1)] = 1
    accept_lockout_risk: Boolean = False

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        if self.shard is not None and self.shard >= self.total_shards:
            yield Mistake(
                ("shard",),
                f"must be less than total_shards, {self.total_shards}; shards count from 0",
                ("shard", "total_shards"),
            )


def lockout_danger(
    sharding: ShardingSettings, sources: Sequence[SourceSettings], state: StateSettings
) -> str:
    """Return what shards that know nothing of each other can do, empty if it is nothing."""
    endangered = [source for source in sources if source.LOCKOUT.block]
    if sharding.total_shards <= SAFE_SHARDS or not endangered or state.url is not None:
        return ""
    return (
        f"a wrong token costs each of {sharding.total_shards} shards that do not share their state"
        f" a call to {', '.join(source.name for source in endangered)}, where"
        f" {endangered[0].LOCKOUT.consequence}"
    )


def lockout_mistakes(
    sharding: ShardingSettings, sources: Sequence[SourceSettings], state: StateSettings
) -> Iterator[Mistake]:
    """Yield a mistake for such a danger that nobody has accepted."""
    danger = lockout_danger(sharding, sources, state)
    if danger and not sharding.accept_lockout_risk:
        yield Mistake(
            ("sharding", "total_shards"),
            f"{danger}; have them share it with state.url, use {SAFE_SHARDS} or less, or give"
            " --accept-lockout-risk, for instance because all run on one host with one state.path",
        )


#: All parts beside the sources, by their keys.
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
