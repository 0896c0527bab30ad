"""The web configuration file: TLS, users, headers and rate limit, in exporter-toolkit's format.

Keys and values are those of Prometheus' exporter-toolkit, so that operators can use their existing
files. A setting that Python does not support is an error with the reason, and never ignored. The
only exception is `http2`: clients negotiate HTTP/2, and this server speaks HTTP/1.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, SecretStr

from exporter.config import yaml_file
from exporter.config.types import Boolean, Duration, FilePath, Whole, WrongValueError
from exporter.config.validation import Mistake, Section, checked, dotted
from exporter.config.words import nearest, one_of
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path


#: The allowed versions of TLS, the oldest first. Older versions are insecure.
TLS_VERSIONS = ("TLS12", "TLS13")

#: OpenSSL's names of cipher suites, by their registered names. Suites of TLS 1.3 have no OpenSSL
#: name here: they are all secure, and Python keeps them enabled.
CIPHER_SUITES: Mapping[str, str] = {
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}

#: OpenSSL's names of curves, by the names in the file.
CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

#: The modes of client certificates; the last two verify them.
CLIENT_AUTH_TYPES = (
    "NoClientCert",
    "RequestClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
)

#: The headers that the file may set, with their possible values if these are a closed list.
HEADERS: Mapping[str, Collection[str]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}

#: The largest cost of a password's hash. With a larger one, a comparison takes many seconds.
MAX_COST = 18

_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_COMMENT = re.compile(rb"#.*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _one_of(known: Collection[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            raise WrongValueError(one_of(value, known))
        return value

    return AfterValidator(check)


def _check_client_auth(value: str) -> str:
    if value in ("RequireAnyClientCert", "RequireClientCert"):
        raise WrongValueError(
            "an unverified certificate proves nothing; write RequireAndVerifyClientCert"
        )
    return value


def _check_cipher(name: str) -> str:
    if name not in CIPHER_SUITES:
        raise WrongValueError(f"unknown cipher suite; {nearest(name, CIPHER_SUITES)}")
    return name


def _check_hash(value: SecretStr) -> SecretStr:
    match = _BCRYPT.fullmatch(value.get_secret_value())
    if match is None or int(match[1]) < 4:  # 4 is bcrypt's lowest cost
        raise WrongValueError("is not a bcrypt hash; make one with `htpasswd -nBC 10 NAME`")
    if int(match[1]) > MAX_COST:
        raise WrongValueError(f"has a cost above {MAX_COST}: a comparison would take too long")
    return value


def _check_user(name: str) -> str:
    if not name or ":" in name or _CONTROL.search(name):
        raise WrongValueError("cannot be a user's name: it is empty, has a colon or is unprintable")
    return name


_Version = Annotated[str, _one_of(TLS_VERSIONS)]


class TlsConfig(Section):
    """`tls_server_config`: a blank value counts as not given.

    Attributes:
        cert: The server's certificate and its chain, PEM.
        cert_file: A file with the certificate and its chain.
        key: The certificate's key, PEM, without a passphrase.
        key_file: A file with the key.
        client_auth_type: Whether clients must present a certificate, and whether it is verified.
            The two types that require a certificate without verifying it are refused.
        client_ca: The certificates of authorities that clients' certificates are verified with,
            PEM.
        client_ca_file: A file with these certificates.
        client_allowed_sans: DNS names, IP addresses, email addresses or URIs, of which a client's
            certificate must contain at least one; needs `RequireAndVerifyClientCert`.
        min_version: The oldest allowed version of TLS.
        max_version: The newest allowed version of TLS.
        cipher_suites: The allowed cipher suites, by their IANA names; the suites of TLS 1.3 are
            always allowed with that version.
        prefer_server_cipher_suites: Whether the server's order of the suites counts and not the
            client's.
        curve_preferences: The only allowed curve; all curves if not given.
    """

    cert: str | None = None
    cert_file: FilePath | None = None
    key: SecretStr | None = None
    key_file: FilePath | None = None
    client_auth_type: Annotated[
        str, AfterValidator(_check_client_auth), _one_of(CLIENT_AUTH_TYPES)
    ] = "NoClientCert"
    client_ca: str | None = None
    client_ca_file: FilePath | None = None
    client_allowed_sans: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    min_version: _Version = "TLS12"
    max_version: _Version = "TLS13"
    cipher_suites: tuple[Annotated[str, AfterValidator(_check_cipher)], ...] = ()
    prefer_server_cipher_suites: Boolean = True
    curve_preferences: tuple[Annotated[str, _one_of(CURVES)], ...] = ()

    @property
    def verifies_clients(self) -> bool:
        """True if the certificates of clients that present one are verified."""
        return self.client_auth_type in CLIENT_AUTH_TYPES[2:]

    @property
    def requires_clients(self) -> bool:
        """True if clients without a certificate are refused."""
        return self.client_auth_type == CLIENT_AUTH_TYPES[-1]

    def losses(self, before: TlsConfig) -> Iterator[Mistake]:
        """Yield the demands on clients that the file before had and this one lacks."""
        if (before.requires_clients, before.verifies_clients) > (
            self.requires_clients,
            self.verifies_clients,
        ):
            text = f"demands less than {before.client_auth_type}; put that back, or restart"
            yield Mistake(("client_auth_type",), text)
        elif before.client_allowed_sans and not self.client_allowed_sans:
            text = "is gone; put names back, or restart to let in all that the client CA knows"
            yield Mistake(("client_allowed_sans",), text)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield the keys of the section that name files, with the files."""
        for key in ("cert_file", "key_file", "client_ca_file"):
            if (path := getattr(self, key)) is not None:
                yield key, path

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the mistakes in the combination of fields."""
        for name in ("cert", "key", "client_ca"):
            pair = (name, f"{name}_file")
            given = [field for field in pair if getattr(self, field) is not None]
            if len(given) == len(pair):
                yield Mistake(pair[1:], f"{name} is given as well; keep one", pair)
            if not given and name != "client_ca":
                yield Mistake(pair[1:], "is missing; TLS needs certificate and key", pair)
        yield from self._mistakes_of_clients()
        if TLS_VERSIONS.index(self.min_version) > TLS_VERSIONS.index(self.max_version):
            about = ("min_version", "max_version")
            yield Mistake(about[:1], "must not be newer than max_version", about)
        if len(self.curve_preferences) > 1:
            yield Mistake(
                ("curve_preferences",), "only one curve can be set here; keep one, or none for all"
            )

    def _mistakes_of_clients(self) -> Iterator[Mistake]:
        about = ("client_auth_type", "client_ca", "client_ca_file")
        has_ca = self.client_ca is not None or self.client_ca_file is not None
        if self.verifies_clients and not has_ca:
            yield Mistake(("client_ca_file",), "is missing; clients are verified against it", about)
        if has_ca and not self.verifies_clients:
            remedy = "must be RequireAndVerifyClientCert, or remove the client CA"
            yield Mistake(("client_auth_type",), remedy, about)
        if self.client_allowed_sans and not self.requires_clients:
            remedy = "needs client_auth_type RequireAndVerifyClientCert"
            yield Mistake(("client_allowed_sans",), remedy, ("client_auth_type",))


class HttpConfig(Section):
    """`http_server_config`.

    Attributes:
        http2: Accepted without effect, because this server speaks HTTP/1.1.
        headers: Headers of every response, which replace the exporter's; an empty value removes a
            header.
    """

    http2: Boolean = True
    headers: dict[str, str] = Field(default_factory=dict)

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the headers that cannot be set."""
        for name, value in self.headers.items():
            place = ("headers", name)
            if name not in HEADERS:
                yield Mistake(place, f"this header cannot be set; {nearest(name, HEADERS)}")
            elif value and HEADERS[name] and value.lower() not in HEADERS[name]:
                yield Mistake(place, one_of(value, HEADERS[name]))
            elif _CONTROL.search(value) or not value.isascii():
                yield Mistake(place, "must be one line of plain characters")


class RateLimit(Section):
    """`rate_limit`: `burst` requests at once, then one per `interval`; no limit if not given.

    Attributes:
        interval: The time after which another request is allowed; `0` means no limit.
        burst: The number of requests that are allowed at once.
    """

    interval: Duration = 0.0
    burst: Annotated[Whole, Field(ge=0)] = 0

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the mistakes in the combination of fields."""
        if self.interval and not self.burst:
            about = ("interval", "burst")
            yield Mistake(about[1:], "must be at least 1, or no request would pass", about)


_TLS, _USERS = "tls_server_config", "basic_auth_users"

#: The sections of the file, by their keys.
SECTIONS: Mapping[str, type[Section]] = {
    _TLS: TlsConfig,
    "http_server_config": HttpConfig,
    "rate_limit": RateLimit,
}


class WebConfig(Section):
    """The whole file."""

    tls_server_config: TlsConfig | None = None
    http_server_config: HttpConfig = HttpConfig()
    basic_auth_users: dict[
        Annotated[str, AfterValidator(_check_user)],
        Annotated[SecretStr, AfterValidator(_check_hash)],
    ] = Field(default_factory=dict)
    rate_limit: RateLimit = RateLimit()

    @property
    def tls(self) -> TlsConfig | None:
        """The settings of TLS; `None` for plain HTTP."""
        return self.tls_server_config

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of every response; an empty value removes a header."""
        return self.http_server_config.headers

    @property
    def users(self) -> Mapping[str, SecretStr]:
        """Bcrypt hashes by user name; empty if no password is required."""
        return self.basic_auth_users

    def losses(self, before: WebConfig) -> Iterator[Mistake]:
        """Yield the demands on clients that the file before had and this one lacks."""
        if before.users and not self.users:
            yield Mistake((_USERS,), "is gone; put users back, or restart to let everybody in")
        if (before.tls is None) is not (self.tls is None):
            yield Mistake((_TLS,), "was added or removed; restart to switch TLS on or off")
        elif before.tls is not None and self.tls is not None:
            yield from (
                Mistake((_TLS, *loss.path), loss.text) for loss in self.tls.losses(before.tls)
            )

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the mistakes in the combination of fields."""
        # An empty section may be unfinished, so it must not let everybody in.
        if _USERS in self.model_fields_set and not self.users:
            remedy = "names no user with a hash; remove it to let everybody in"
            yield Mistake((_USERS,), remedy, (_USERS,))


def parse(content: bytes, *, path: Path) -> WebConfig:
    """Parse the content of a web configuration file.

    Args:
        content: The content.
        path: The path of the file; relative paths in the file are relative to its folder.

    Returns:
        The settings, with absolute paths.

    Raises:
        ConfigurationError: The file is wrong; the error has every mistake.
    """
    raw = yaml_file.parse(content, name=str(path), begun=(_TLS, _USERS))
    if not raw and b"{" not in _COMMENT.sub(b"", content):
        remedy = "write rules for clients, or {} to let everybody in over plain HTTP"
        raise ConfigurationError([f"{path}: says nothing, and may have lost its content; {remedy}"])
    if isinstance(raw.get(_TLS), dict):
        # A value left empty in a template counts as not given.
        raw[_TLS] = {key: value for key, value in raw[_TLS].items() if value != ""}
    outcome = checked(WebConfig, yaml_file.absolute(WebConfig, raw, path.parent))
    if outcome.mistakes:
        ranks = {key: rank for rank, key in enumerate(WebConfig.model_fields)}
        # In the order of the sections, unknown keys first.
        found = sorted(outcome.mistakes, key=lambda m: ranks.get(str(m.path[0]), -1))
        raise told(path, found)
    return outcome.settings


def told(path: Path, mistakes: Iterable[Mistake]) -> ConfigurationError:
    """Return the error with all mistakes in a file, each with its path."""
    return ConfigurationError([f"{path}: {dotted(m.path)}: {m.text}" for m in mistakes])
