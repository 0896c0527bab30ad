"""The web configuration file and its certificates, reloaded while the server runs.

The files are checked with `stat` at each connection and request, and by the daemon's housekeeping.
File notifications are not used, because they miss swapped symbolic links. A valid change applies
from that connection or request on. An invalid change is logged once, and the old rules stay.

Security fails closed: if users, TLS or the verification of clients vanish from the file, that is a
mistake, because a truncated or half-written file looks the same. Only a restart removes them.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.config import files, yaml_file
from exporter.errors import ConfigurationError
from exporter.web.access.auth import Bucket, Users
from exporter.web.access.config import WebConfig, parse, told
from exporter.web.access.tls import (
    ChangingContext,
    UnusableError,
    certificate_end,
    make_context,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger


#: Files younger than this are read again each time, because a file can change twice within one tick
#: of the file system's clock.
SETTLED_SECONDS = 2.0


#: Change time, size, device and inode of a file, which show any change of its content, place or
#: permissions, also behind a swapped symbolic link. `None` if there is no file.
Identity = tuple[int, int, int, int] | None


class LoadedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of the files at one time.

    Attributes:
        config: The content of the web configuration file, `None` if it is wrong.
        contents: The contents of the readable files.
        problems: The mistakes, each with its path.
        seen: The identities of all files, including missing ones, from before they were read.
    """

    config: WebConfig | None
    contents: Mapping[Path, bytes]
    problems: tuple[str, ...]
    seen: Mapping[Path, Identity]

    @property
    def changed_timestamp_seconds(self) -> float:
        """The change time of the newest file, in Unix seconds."""
        return max((seen[0] for seen in self.seen.values() if seen), default=0) / 1e9

    def is_current(self) -> bool:
        """Return whether the files are unchanged since they were read."""
        return all(identity(path) == seen for path, seen in self.seen.items())


def read_files(path: Path) -> LoadedFiles:
    """Return the web configuration file and all files that it names, with their mistakes."""
    seen: dict[Path, Identity] = {}
    contents: dict[Path, bytes] = {}
    problems: list[str] = []

    def take(file: Path, limit_bytes: int, place: str = "") -> None:
        # Before reading, so that a change in between is noticed the next time.
        seen[file] = identity(file)
        try:
            contents[file] = yaml_file.read(file, limit_bytes=limit_bytes)
        except ConfigurationError as error:
            problems.extend(f"{place}{problem}" for problem in error.problems)

    take(path, yaml_file.LIMIT_BYTES)
    config = None
    if path in contents:
        try:
            config = parse(contents[path], path=path)
        except ConfigurationError as error:
            problems.extend(error.problems)
    if config is not None and config.tls is not None:
        for key, file in config.tls.files():
            take(file, files.LIMIT_BYTES, f"{path}: tls_server_config.{key}: ")
    return LoadedFiles(config=config, contents=contents, problems=tuple(problems), seen=seen)


def identity(path: Path) -> Identity:
    """Return the identity of a file, without reading it."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_ctime_ns, status.st_size, status.st_dev, status.st_ino


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for a connection and its requests.

    Attributes:
        config: The content of the web configuration file.
        users: The users; `None` lets everybody in.
        bucket: The rate limit; `None` for no limit.
        context: The TLS context; `None` for plain HTTP.
        certificate_end: The expiry of the server's certificate, in Unix seconds.
    """

    config: WebConfig
    users: Users | None
    bucket: Bucket | None
    context: ssl.SSLContext | None
    certificate_end: float | None = None


class WebSecurity:
    """The current rules of one web configuration file.

    Attributes:
        context: The TLS context of the server's sockets, which follows the files by itself; `None`
            for plain HTTP.
        refused: Whether the newest files are wrong, so that older rules stay in use.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = SYSTEM_CLOCK,
        log: FilteringBoundLogger | None = None,
        read: Callable[[Path], LoadedFiles] = read_files,
    ) -> None:
        """Read the file and all files that it names.

        Raises:
            ConfigurationError: A file is wrong; the error has every mistake.
        """
        self._path = path
        self._clock = clock
        self._read_files = read
        self._log: FilteringBoundLogger = log or structlog.get_logger("exporter.web")
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bcrypt")
        self._files, self._settled = self._read()
        self._rules = self._rules_from(self._files, None)
        self.refused = False
        self.context: ssl.SSLContext | None = None
        if self._rules.context is not None:
            self.context = ChangingContext(self._context)

    @property
    def certificate_end(self) -> float | None:
        """The expiry of the server's certificate, in Unix seconds; `None` if unknown."""
        return self._rules.certificate_end

    def rules(self) -> Rules:
        """Return the current rules, after a check of the files."""
        self.refresh()
        return self._rules

    def refresh(self) -> None:
        """Apply changes of the files."""
        if self._settled and self._files.is_current():
            return
        before = self._files
        self._files, self._settled = self._read()
        if (before.contents, before.problems) == (self._files.contents, self._files.problems):
            return
        try:
            self._rules = self._rules_from(self._files, self._rules)
        except ConfigurationError as error:
            self.refused = True
            for problem in error.problems:
                self._log.error("web_config_refused", message=problem)
        else:
            self.refused = False
            self._log.info("web_config_changed")

    def _context(self) -> ssl.SSLContext:
        self.refresh()
        assert self._rules.context is not None  # noqa: S101 - `_rules_from` keeps TLS as it was
        return self._rules.context

    def _read(self) -> tuple[LoadedFiles, bool]:
        found = self._read_files(self._path)
        age_seconds = self._clock.time() - found.changed_timestamp_seconds
        return found, age_seconds > SETTLED_SECONDS

    def _rules_from(self, found: LoadedFiles, before: Rules | None) -> Rules:
        """Return new rules; unchanged users and limits keep their remembered state."""
        config = found.config
        if config is None or found.problems:
            raise ConfigurationError(found.problems)
        cert = _certificate(config, found.contents)
        context = self._make_context(config, cert, found.contents)
        lost = list(config.losses(before.config)) if before is not None else []
        if lost:
            raise told(self._path, lost)
        limit = config.rate_limit
        users, bucket = None, None
        if before is not None and before.config.users == config.users:
            users = before.users
        elif config.users:
            hashes = {name: text.get_secret_value() for name, text in config.users.items()}
            users = Users(hashes, executor=self._executor)
        if before is not None and before.config.rate_limit == limit:
            bucket = before.bucket
        elif limit.interval:
            bucket = Bucket(
                interval_seconds=limit.interval,
                burst=limit.burst,
                monotonic=self._clock.monotonic,
            )
        return Rules(
            config=config,
            users=users,
            bucket=bucket,
            context=context,
            certificate_end=certificate_end(cert) if cert else None,
        )

    def _make_context(
        self, config: WebConfig, cert: bytes, contents: Mapping[Path, bytes]
    ) -> ssl.SSLContext | None:
        tls = config.tls
        if tls is None:
            return None
        key = tls.key.get_secret_value() if tls.key is not None else None
        try:
            return make_context(
                tls,
                cert=cert,
                key=_content(key, tls.key_file, contents),
                client_ca=_content(tls.client_ca, tls.client_ca_file, contents),
            )
        except UnusableError as error:
            raise ConfigurationError([f"{self._path}: tls_server_config: {error}"]) from None


def _certificate(config: WebConfig, contents: Mapping[Path, bytes]) -> bytes:
    """Return the certificate and its chain, PEM; empty for plain HTTP."""
    tls = config.tls
    return b"" if tls is None else _content(tls.cert, tls.cert_file, contents)


def _content(inline: str | None, path: Path | None, contents: Mapping[Path, bytes]) -> bytes:
    return contents[path] if path is not None else (inline or "").encode()
