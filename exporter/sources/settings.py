"""Settings that all sources have in common, and the section `defaults` that they inherit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from exporter.config.address import is_loopback
from exporter.config.checks import secret_mistakes, tls_mistakes
from exporter.config.secret import Secret
from exporter.config.types import (
    Boolean,
    Duration,
    FilePath,
    Interval,
    Regex,
    Size,
    TimeLimit,
    Url,
    Whole,
    WrongValueError,
    format_duration,
)
from exporter.config.validation import Mistake, Section
from exporter.config.words import nearest
from exporter.errors import CallError
from exporter.lockout.policy import Policy
from exporter.metrics.catalogue import COMMON_LABELS, FAMILIES


if TYPE_CHECKING:
    from pathlib import Path


#: Concurrent calls of a source; with more, a token revoked during a poll can cause a lock-out.
DEFAULT_CONCURRENCY = 3

#: The default interval of ordinary tasks. A longer default is for data that rarely changes.
STANDARD_INTERVAL_SECONDS = 60.0

#: Real Load blocks an address after 5 refused calls within this time
#: (deploy/docs/vendors/realload.md).
AUTH_RETRY_MIN_SECONDS = 60.0

#: Labels that a user may not add: those of Prometheus and of the exporter's own families.
RESERVED_LABELS = frozenset(
    {"job", "instance", "le", "quantile", *COMMON_LABELS}.union(
        *(family.labels for family in FAMILIES)
    )
)

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_INTERVALS_TO_STALE = 3


def _check_name(name: str) -> str:
    if not name or name != name.strip() or not name.isprintable():
        raise WrongValueError("must be printable text without spaces at its ends")
    return name


#: The name of a source, the value of its `source` label.
Name = Annotated[str, Field(max_length=100), AfterValidator(_check_name)]


class SourceDefaults(Section):
    """The section `defaults`; every source inherits its values and may override each.

    Attributes:
        interval: Time from the start of a poll to the start of the next. A task with a default
            interval above `60s` keeps that interval if it is longer.
        timeout: Time limit of a whole call including its retries; shorter than every interval.
        connect_timeout: Time limit for connecting, TLS handshake included; `5s` if not given.
        read_timeout: The longest silence of the vendor during a call; `timeout` if not given.
        stale_after: Age at which readings that could not be renewed expire; 3 intervals of their
            task if not given.
        concurrency: The largest number of concurrent calls, over all tasks of the source.
        requests_per_minute: The largest number of calls per minute, retries included, summed over
            all processes that share the state and call the same API with the same credentials. If
            their limits differ, the smallest applies; no limit if not given.
        probe_min_age: `/probe` shows a reading up to this age without asking the vendor; with `0`
            it always asks.
        retries: How often a failed read is tried again, after pauses of random length, while half
            of `timeout` is left. A read whose connection was lost is sent once more on a new
            connection, unless this is 0.
        max_reply_bytes: The largest accepted reply, counted after decompression.
        auth_retry: How long no call is sent after the vendor refused the credentials, unless the
            secret changes; at least `60s`.
        labels: Labels added to all series of the source; a source's labels are added to those of
            `defaults`.
        ca_file: The authorities that verify the vendor's certificate, in place of the system's.
        insecure_skip_verify: Do not verify the vendor's certificate.
        client_cert_file: The client certificate presented to the vendor.
        client_key_file: The private key of the client certificate.
        proxy_url: The proxy between exporter and vendor; if not given, the environment variables
            `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` apply.
        proxy_url_file: A file that holds the proxy URL, for a URL with a password.
    """

    interval: TimeLimit | None = None
    timeout: TimeLimit = 15.0
    connect_timeout: TimeLimit | None = None
    read_timeout: TimeLimit | None = None
    stale_after: TimeLimit | None = None
    concurrency: Annotated[Whole, Field(ge=1)] = DEFAULT_CONCURRENCY
    requests_per_minute: Annotated[Whole, Field(ge=1)] | None = None
    probe_min_age: Duration = 10.0
    retries: Annotated[Whole, Field(ge=0, le=10)] = 2
    max_reply_bytes: Size = 16 << 20
    auth_retry: Duration = 300.0
    labels: dict[str, str] = Field(default_factory=dict)
    ca_file: FilePath | None = None
    insecure_skip_verify: Boolean = False
    client_cert_file: FilePath | None = None
    client_key_file: FilePath | None = None
    proxy_url: SecretStr | None = None
    proxy_url_file: FilePath | None = None

    def mistakes(self) -> Iterator[Mistake]:
        """Yield mistakes in the values that every source inherits."""
        if self.auth_retry < AUTH_RETRY_MIN_SECONDS:
            yield Mistake(
                ("auth_retry",),
                "must be at least 60s; the vendor may block callers that retry sooner",
            )
        yield from label_mistakes(self.labels, "labels")
        yield from tls_mistakes(self.ca_file, self.client_cert_file, self.client_key_file)
        yield from secret_mistakes(self, "proxy_url", required=False)
        yield from self._proxy_mistakes()

    def _proxy_mistakes(self) -> Iterator[Mistake]:
        if self.proxy is None:
            return
        try:
            parts = urlsplit(self.proxy.reveal())
            complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except CallError:
            return  # `secret_mistakes` reports a file that cannot be read
        except ValueError:
            complete = False
        if not complete:
            yield Mistake(
                ("proxy_url",),
                "is not an http or https URL; write it as http://host:port",
                ("proxy_url", "proxy_url_file"),
            )

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret of the section; a subclass adds its own."""
        if self.proxy is not None:
            yield self.proxy

    def tls_files(self) -> tuple[Path, ...]:
        """Return the files for TLS; a source reads them when it connects."""
        named = (self.ca_file, self.client_cert_file, self.client_key_file)
        return tuple(path for path in named if path is not None)

    def files(self) -> Iterator[Path]:
        """Yield every file that a source reads: the TLS files and those with secrets."""
        yield from self.tls_files()
        yield from (secret.path for secret in self.secrets() if secret.path is not None)

    @cached_property
    def proxy(self) -> Secret | None:
        """The proxy's URL, a secret because it may hold a password."""
        if self.proxy_url is None and self.proxy_url_file is None:
            return None
        return Secret(self.proxy_url, self.proxy_url_file)


class SourceSettings(SourceDefaults):
    """The settings of one source; every provider has its own subclass.

    A subclass narrows `provider` to a literal with a default, sets the class variables, adds its
    fields (each with a default) and yields its own mistakes after those of this class.

    Attributes:
        provider: The vendor.
        name: The value of the `source` label, unique among all sources; the provider's name if not
            given.
        url: The URL of the vendor's API.
        tasks: The interval of each task, or `off`, by the task's name.
        include: A regular expression per kind; only targets whose whole name matches are watched.
        exclude: A regular expression per kind; targets whose whole name matches are not watched.
    """

    #: Tasks with their default intervals in seconds; `None` is off by default.
    TASKS: ClassVar[Mapping[str, float | None]] = {}

    #: The vendor's way of locking callers out.
    LOCKOUT: ClassVar[Policy] = Policy()

    #: The kinds that `include` and `exclude` accept as keys.
    FILTERS: ClassVar[Collection[str]] = ()

    provider: str = ""
    name: Name = ""
    url: Url = ""
    tasks: dict[str, Interval] = Field(default_factory=dict)
    include: dict[str, Regex] = Field(default_factory=dict)
    exclude: dict[str, Regex] = Field(default_factory=dict)

    def mistakes(self) -> Iterator[Mistake]:
        """Yield mistakes in combinations of fields that are valid on their own."""
        yield from super().mistakes()
        if not self.url:
            yield Mistake(("url",), "is missing; give the URL of the vendor's API")
        for field, known in (
            ("tasks", self.TASKS.keys()),
            ("include", self.FILTERS),
            ("exclude", self.FILTERS),
        ):
            for key in getattr(self, field):
                if key not in known:
                    what = "task" if field == "tasks" else "kind"
                    yield Mistake((field, key), f"unknown {what}; {nearest(key, known)}")
        yield from self._interval_mistakes()

    def _interval_mistakes(self) -> Iterator[Mistake]:
        short = [task for task, seconds in self.intervals().items() if self.timeout >= seconds]
        if short:
            yield Mistake(
                ("timeout",),
                f"{format_duration(self.timeout)} is not shorter than the interval of"
                f" {', '.join(short)}; lower the timeout or poll less often",
                ("timeout", "interval", "tasks"),
            )
        pace = self.interval or STANDARD_INTERVAL_SECONDS
        if self.stale_after is not None and self.stale_after < pace:
            yield Mistake(
                ("stale_after",),
                f"{format_duration(self.stale_after)} is shorter than the interval"
                f" {format_duration(pace)}, so that series would come and go; raise it",
                ("stale_after", "interval"),
            )

    def risks(self) -> Iterator[str]:
        """Yield a sentence for each valid but risky setting, with the remedy."""
        if self.LOCKOUT.block and self.concurrency > DEFAULT_CONCURRENCY:
            yield (
                f"concurrency of {self.name} is {self.concurrency}: credentials that are revoked in"
                f" the middle of a poll cost up to {self.concurrency + 1} refused calls, and"
                f" {self.LOCKOUT.consequence}, for everybody behind it;"
                f" {DEFAULT_CONCURRENCY} or less is safe"
            )
        parts = urlsplit(self.url)
        secrets = any(True for _ in self.secrets())
        if secrets and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            yield (
                f"url of {self.name} begins with http://, so its credentials go over the network"
                " unencrypted; write https://"
            )

    def intervals(self) -> dict[str, float]:
        """Return the enabled tasks with the seconds between their polls."""
        intervals = {task: self.interval_for(task) for task in self.TASKS}
        return {task: seconds for task, seconds in intervals.items() if seconds is not None}

    def interval_for(self, task: str) -> float | None:
        """Return the seconds between polls of a task, `None` if the task is off.

        The task's entry in `tasks` has precedence. `interval` applies to all other tasks, but it
        does not enable a task that is off by default, nor shorten an interval whose default is
        above 60 s.
        """
        if task in self.tasks:
            return self.tasks[task]
        default = self.TASKS[task]
        if self.interval is None or default is None:
            return default
        if default <= STANDARD_INTERVAL_SECONDS:
            return self.interval
        return max(self.interval, default)

    def stale_after_for(self, task: str) -> float:
        """Return the seconds after which a task's readings expire.

        A task that is polled less often than `stale_after` keeps 3 of its own intervals.
        """
        interval = self.interval_for(task) or STANDARD_INTERVAL_SECONDS
        if self.stale_after is not None and self.stale_after >= interval:
            return self.stale_after
        return _INTERVALS_TO_STALE * interval

    def wanted(self, kind: str, name: str) -> bool:
        """Return whether `include` and `exclude` select a target.

        Args:
            kind: One of `FILTERS`.
            name: The target's name; the expressions must match all of it.
        """
        if kind not in self.FILTERS:
            raise LookupError(f"{self.provider} does not filter {kind}")
        include, exclude = self.include.get(kind), self.exclude.get(kind)
        if exclude is not None and exclude.fullmatch(name):
            return False
        return include is None or include.fullmatch(name) is not None


def expected_mistakes(settings: SourceSettings, names: Iterable[str]) -> Iterator[Mistake]:
    """Yield a mistake for each of the `expected_agents` that the filters exclude."""
    for index, name in enumerate(names):
        if not settings.wanted("agents", name):
            yield Mistake(
                ("expected_agents", index),
                "is expected, but include and exclude filter it out; change one of them",
                ("expected_agents", "include", "exclude"),
            )


def label_mistakes(labels: Mapping[str, str], field: str) -> Iterator[Mistake]:
    """Yield a mistake for each added label that is invalid or reserved."""
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name):
            text = "is not a label name; use letters, digits and _, and do not begin with a digit"
        elif name in RESERVED_LABELS or name.startswith("__"):
            text = "is a label that the exporter or Prometheus sets; rename it"
        elif not value:
            text = "is empty, which Prometheus treats as absent; give a value or remove the label"
        else:
            continue
        yield Mistake((field, name), text)
