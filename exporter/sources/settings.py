"""Settings that all sources have in common, and those that `defaults` hands down to them."""

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


#: Calls under way at once; with more, a token revoked during a poll can cost a lock-out.
DEFAULT_CONCURRENCY = 3

#: The interval of every task that is not slow by its nature.
STANDARD_INTERVAL_SECONDS = 60.0

#: Real Load locks an address out after 5 refused calls in this time.
AUTH_RETRY_MIN_SECONDS = 60.0

#: Labels that nobody may add: Prometheus' and those of our own families.
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
    """The section `defaults`: every source inherits it and may set its own.

    Attributes:
        interval: Time from the start of a poll to the start of the next. A task that is slow by its
            nature keeps its own interval where that is longer.
        timeout: Of a whole call with its retries; shorter than every interval.
        connect_timeout: Until a connection stands, TLS included; `5s` if not given.
        read_timeout: How long the vendor may be silent; `timeout` if not given.
        stale_after: When readings that could not be renewed expire; 3 intervals of their task if
            not given.
        concurrency: Calls under way at once, over all tasks of the source.
        requests_per_minute: The most calls in a minute, retries included, in sum over all that
            share the state and call the same API with the same credentials. Of several budgets the
            smallest holds; no limit if not given.
        probe_min_age: Up to which age `/probe` shows a reading without asking the vendor; with `0`
            it always asks.
        retries: Further tries of a read that failed while half of `timeout` was left, with pauses
            of random length. One whose connection was lost is sent once more, anew; with 0 it
            is not.
        max_reply_bytes: The largest reply, counted after decompression.
        auth_retry: How long nothing is sent after refused credentials, unless the secret changes;
            at least `60s`.
        labels: Added to all series of the source; those of a source add to those of `defaults`.
        ca_file: What the vendor's certificate is verified against, in place of the system's
            authorities.
        insecure_skip_verify: Do not verify the vendor's certificate.
        client_cert_file: The certificate shown to the vendor.
        client_key_file: Its key.
        proxy_url: The proxy towards the vendor; the usual proxy variables count if not given.
        proxy_url_file: A file with it, for a URL that holds a password.
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
        """Yield what is wrong with the values every source inherits."""
        if self.auth_retry < AUTH_RETRY_MIN_SECONDS:
            yield Mistake(
                ("auth_retry",),
                "must be at least 60s; the vendor may lock out who retries sooner",
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
            return  # reported with the file
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
        """Return the files for TLS, which are read when a source connects."""
        named = (self.ca_file, self.client_cert_file, self.client_key_file)
        return tuple(path for path in named if path is not None)

    def files(self) -> Iterator[Path]:
        """Yield every file that is read: for TLS, and with a secret."""
        yield from self.tls_files()
        yield from (secret.path for secret in self.secrets() if secret.path is not None)

    @cached_property
    def proxy(self) -> Secret | None:
        """The proxy's URL, secret since it may hold a password."""
        if self.proxy_url is None and self.proxy_url_file is None:
            return None
        return Secret(self.proxy_url, self.proxy_url_file)


class SourceSettings(SourceDefaults):
    """One source; every provider has its subclass.

    A subclass narrows `provider` to a literal with a default, sets the class variables, adds its
    fields (each with a default) and yields its own mistakes after those of this class.

    Attributes:
        provider: Which vendor.
        name: The `source` label; no two sources share one. The provider's name if not given.
        url: Where the vendor's API is.
        tasks: By the task's name its interval, or `off`.
        include: By kind a regular expression for whole names: what does not match is not watched.
        exclude: Likewise: what matches is not watched.
    """

    #: Tasks with their default intervals in seconds; `None` is off by default.
    TASKS: ClassVar[Mapping[str, float | None]] = {}

    #: How the vendor locks callers out.
    LOCKOUT: ClassVar[Policy] = Policy()

    #: Kinds that `include` and `exclude` know.
    FILTERS: ClassVar[Collection[str]] = ()

    provider: str = ""
    name: Name = ""
    url: Url = ""
    tasks: dict[str, Interval] = Field(default_factory=dict)
    include: dict[str, Regex] = Field(default_factory=dict)
    exclude: dict[str, Regex] = Field(default_factory=dict)

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
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
        """Yield a sentence on everything that works and may do harm, with the remedy."""
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
                " for everybody to read; write https://"
            )

    def intervals(self) -> dict[str, float]:
        """Return the tasks that are on, with the seconds between their polls."""
        intervals = {task: self.interval_for(task) for task in self.TASKS}
        return {task: seconds for task, seconds in intervals.items() if seconds is not None}

    def interval_for(self, task: str) -> float | None:
        """Return the seconds between polls of a task, `None` when it is off.

        The task's own setting counts first. `interval` sets the pace of the others, but it
        neither switches on what is off by default nor speeds up what is slow by its nature.
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
        """Return whether a target is to be watched, by `include` and `exclude`.

        Args:
            kind: One of `FILTERS`.
            name: Compared with the expressions as a whole.
        """
        if kind not in self.FILTERS:
            raise LookupError(f"{self.provider} does not filter {kind}")
        include, exclude = self.include.get(kind), self.exclude.get(kind)
        if exclude is not None and exclude.fullmatch(name):
            return False
        return include is None or include.fullmatch(name) is not None


def expected_mistakes(settings: SourceSettings, names: Iterable[str]) -> Iterator[Mistake]:
    """Yield a mistake for every one of the `expected_agents` whose name is filtered out."""
    for index, name in enumerate(names):
        if not settings.wanted("agents", name):
            yield Mistake(
                ("expected_agents", index),
                "is expected, yet not wanted by include and exclude; change one of them",
                ("expected_agents", "include", "exclude"),
            )


def label_mistakes(labels: Mapping[str, str], field: str) -> Iterator[Mistake]:
    """Yield a mistake for every added label that Prometheus or our own series do not allow."""
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name):
            text = "is not a label name; use letters, digits and _, and no digit first"
        elif name in RESERVED_LABELS or name.startswith("__"):
            text = "is a label of the exporter's own or of Prometheus; rename it"
        elif not value:
            text = "is empty, which Prometheus takes for absent; give a value or remove it"
        else:
            continue
        yield Mistake((field, name), text)
