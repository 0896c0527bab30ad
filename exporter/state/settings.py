"""Settings of the state: its folder or server, and the installation's name."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from exporter.config.address import Address, is_loopback, parse_address
from exporter.config.checks import secret_mistakes, tls_mistakes
from exporter.config.secret import Secret
from exporter.config.types import FilePath, WrongValueError, listed
from exporter.config.validation import Mistake, Section


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_DEFAULT_PORT = 6379

_TLS = ("ca_file", "client_cert_file", "client_key_file")


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise WrongValueError("is not a URL; write it as redis://host:port/0") from error
    if "@" in parts.netloc:
        raise WrongValueError("holds a user or password; give them as username and password_file")
    if not complete or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise WrongValueError("is not a redis or rediss URL; write it as redis://host:port/0")
    if "?" in url or "#" in url:
        raise WrongValueError("holds a query or fragment; end it before the ? or #")
    if not re.fullmatch(r"(/[0-9]{0,4})?", parts.path):
        raise WrongValueError("has a wrong path; end it with the number of a database, as in /0")
    return url


def _check_sentinel(text: str) -> str:
    try:
        address = parse_address(text.strip())
    except ValueError as error:
        raise WrongValueError("is not an address; write host:port") from error
    if not address.host or not address.port:
        raise WrongValueError("is not an address; write host:port")
    return text.strip()


class StateSettings(Section):
    """The state, which outlives the process and is shared by the processes of one or several hosts.

    Attributes:
        path: The folder of the state; if not given, the first entry of `$STATE_DIRECTORY`, else
            `$XDG_STATE_HOME/loadfleet-exporter`.
        url: The Redis (version 6 or newer) or Valkey server that holds the state instead of a
            folder, for exporters on several hosts: `redis://host:port/database`, or `rediss://` for
            TLS. Port 6379 and database 0 if not given.
        sentinels: The addresses of the Sentinels, as `host:port`; the host in `url` is then the
            Sentinels' name for the server, as in `redis://mymaster/0`.
        username: The user to log in as; the server's default user if not given.
        password: The user's password.
        password_file: A file with the password; read again for every connection.
        ca_file: Certificates of authorities that the exporter trusts for the server, besides the
            system's.
        client_cert_file: The client certificate for the server.
        client_key_file: The key of the client certificate.
        namespace: The installation's name. Installations with different names that use the same
            state each have their own snapshots and alerts; they share the lock-out ledger.
    """

    path: FilePath | None = None
    url: Annotated[str, AfterValidator(_check_url)] | None = None
    sentinels: Annotated[
        tuple[Annotated[str, AfterValidator(_check_sentinel)], ...], BeforeValidator(listed)
    ] = ()
    username: str = ""
    password: SecretStr | None = None
    password_file: FilePath | None = None
    ca_file: FilePath | None = None
    client_cert_file: FilePath | None = None
    client_key_file: FilePath | None = None
    namespace: Annotated[str, Field(min_length=1, max_length=64)] = "loadfleet"

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the mistakes in the combination of fields."""
        if self.path is not None and self.url is not None:
            yield Mistake(
                ("url",), "is given as well as path; remove one of the two", ("url", "path")
            )
        if self.url is None:
            for field in ("sentinels", "username", "password", "password_file", *_TLS):
                if getattr(self, field):
                    yield Mistake((field,), "is for a server; give url", (field, "url"))
        elif not self.tls:
            for field in _TLS:
                if getattr(self, field):
                    yield Mistake((field,), "is for TLS; write rediss:// in url", (field, "url"))
        if self.username and self.secret is None:
            yield Mistake(
                ("username",),
                "has no password; give password_file",
                ("username", "password", "password_file"),
            )
        yield from secret_mistakes(self, "password", required=False)
        if self.tls:
            yield from tls_mistakes(self.ca_file, self.client_cert_file, self.client_key_file)

    def risks(self) -> Iterator[str]:
        """Yield warnings about settings that work but are risky, each with its remedy."""
        hosts = [parse_address(each).host for each in self.sentinels] or [self.address.host]
        if self.url is not None and not self.tls and not all(map(is_loopback, hosts)):
            yield (
                "url of the state begins with redis://, so the password and the state go over the"
                " network unencrypted; write rediss://"
            )

    @cached_property
    def address(self) -> Address:
        """The server's host and port."""
        parts = urlsplit(self.url or "")
        return Address(parts.hostname or "", parts.port or _DEFAULT_PORT)

    @property
    def service(self) -> str:
        """The Sentinels' name for the server."""
        # Not `hostname`, which is lower case: Sentinel's names are case-sensitive.
        return urlsplit(self.url or "").netloc.partition(":")[0]

    @property
    def server(self) -> str:
        """The server's name in messages."""
        return f"{self.service} (by Sentinel)" if self.sentinels else str(self.address)

    @property
    def tls(self) -> bool:
        """True if the connection to the server uses TLS."""
        return (self.url or "").startswith("rediss:")

    @property
    def database(self) -> int:
        """The number of the server's database."""
        return int(urlsplit(self.url or "").path.removeprefix("/") or 0)

    @cached_property
    def secret(self) -> Secret | None:
        """The password."""
        if self.password is None and self.password_file is None:
            return None
        return Secret(self.password, self.password_file)

    def files(self) -> Iterator[Path]:
        """Yield the files for TLS, and that of the password."""
        named = (self.password_file, *(getattr(self, field) for field in _TLS))
        yield from (path for path in named if path is not None)
