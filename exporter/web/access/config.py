"""The web configuration file: TLS, users, headers and rate limit, in exporter-toolkit's format.

Operators have such files already, so keys and values are theirs. What Python cannot do is
refused with the reason rather than ignored. The one exception is `http2`: nobody depends on it,
since clients negotiate it and this server speaks HTTP/1.1.
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


#: Minimum and maximum, the oldest first. What is older is broken.
TLS_VERSIONS = ("TLS12", "TLS13")

#: What OpenSSL calls cipher suites, by their registered names. Those of TLS 1.3 have no OpenSSL
#: name here: they are all sound, and Python leaves them on.
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

#: What OpenSSL calls curves, by the format's names.
CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

#: How clients are asked for certificates; the last two verify them.
CLIENT_AUTH_TYPES = (
    "NoClientCert",
    "RequestClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
)

#: The headers that may be set, with their values where these are a closed list.
HEADERS: Mapping[str, Collection[str]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}

#: The largest cost of a password's hash: more would hold everybody up for seconds.
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
            "a certificate that nobody verifies proves nothing; write RequireAndVerifyClientCert"
        )
    return value


def _check_cipher(name: str) -> str:
    if name not in CIPHER_SUITES:
        raise WrongValueError(f"unknown cipher suite; {nearest(name, CIPHER_SUITES)}")
    return name


def _check_hash(value: SecretStr) -> SecretStr:
    match = _BCRYPT.fullmatch(value.get_secret_value())
    if match is None or int(match[1]) < 4:  # bcrypt knows no lower cost
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
        cert: The certificate and its chain, PEM.
        cert_file: A file with them.
        key: The certificate's key, PEM, without a passphrase.
        key_file: A file with it.
        client_auth_type: Whether clients show a certificate, and whether it is verified. The two
            types that demand one and verify nothing are refused.
        client_ca: What clients' certificates are verified against, PEM.
        client_ca_file: A file with it.
        client_allowed_sans: Names, addresses or URIs of which a client's certificate must have one;
            needs `RequireAndVerifyClientCert`.
        min_version: The oldest version of TLS.
        max_version: The newest.
        cipher_suites: By the names of the registry; those of TLS 1.3 are always on with it.
        prefer_server_cipher_suites: Our order of the suites counts and not the client's.
        curve_preferences: One curve; all if not given.
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
        """True if a client's certificate, if it has one, is verified."""
        return self.client_auth_type in CLIENT_AUTH_TYPES[2:]

    @property
    def requires_clients(self) -> bool:
        """True if clients without a certificate are refused."""
        return self.client_auth_type == CLIENT_AUTH_TYPES[-1]

    def losses(self, before: TlsConfig) -> Iterator[Mistake]:
        """Yield what is no longer demanded of clients, and was before."""
        if (before.requires_clients, before.verifies_clients) > (
            self.requires_clients,
            self.verifies_clients,
        ):
            text = f"demands less than {before.client_auth_type}; put that back, or restart"
            yield Mistake(("client_auth_type",), text)
        elif before.client_allowed_sans and not self.client_allowed_sans:
            text = "is gone; put names back, or restart to let in all that the client CA knows"
            yield Mistake(("client_allowed_sans",), text)

    def files(self) -> tuple[Path, ...]:
        """Return the files it names."""
        named = (self.cert_file, self.key_file, self.client_ca_file)
        return tuple(path for path in named if path is not None)

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
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
        http2: Taken and without effect: this server speaks HTTP/1.1.
        headers: Sent with every answer, in place of our own; an empty value takes a header out.
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
    """`rate_limit`: `burst` requests at once, then one per `interval`; without one, no limit.

    Attributes:
        interval: Time until one more request may come; `0` is no limit.
        burst: Requests that may come at once.
    """

    interval: Duration = 0.0
    burst: Annotated[Whole, Field(ge=0)] = 0

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        if self.interval and not self.burst:
            about = ("interval", "burst")
            yield Mistake(about[1:], "must be at least 1, or no request would pass", about)


_TLS, _USERS = "tls_server_config", "basic_auth_users"

#: The parts that are mappings of their own, by their keys.
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
        """The certificate and all else of TLS; `None` is plain HTTP."""
        return self.tls_server_config

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent with every answer; an empty one is not sent at all."""
        return self.http_server_config.headers

    @property
    def users(self) -> Mapping[str, SecretStr]:
        """Bcrypt hashes by name; without any, everybody is let in."""
        return self.basic_auth_users

    def losses(self, before: WebConfig) -> Iterator[Mistake]:
        """Yield what this file no longer demands of clients, and the one before did."""
        if before.users and not self.users:
            yield Mistake((_USERS,), "is gone; put users back, or restart to let everybody in")
        if (before.tls is None) is not (self.tls is None):
            yield Mistake((_TLS,), "came or went; restart to switch TLS on or off")
        elif before.tls is not None and self.tls is not None:
            yield from (
                Mistake((_TLS, *loss.path), loss.text) for loss in self.tls.losses(before.tls)
            )

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        # An empty part was begun, and must not let everybody in.
        if _USERS in self.model_fields_set and not self.users:
            remedy = "names nobody with a hash; remove it to let everybody in"
            yield Mistake((_USERS,), remedy, (_USERS,))


def parse(content: bytes, *, path: Path) -> WebConfig:
    """Read the content of a web configuration file; relative paths count from its folder.

    Raises:
        ConfigurationError: With every mistake at once.
    """
    raw = yaml_file.parse(content, name=str(path), begun=(_TLS, _USERS))
    if not raw and b"{" not in _COMMENT.sub(b"", content):
        remedy = "write what it is to demand, or {} to let everybody in over plain HTTP"
        raise ConfigurationError([f"{path}: says nothing, and may have lost its content; {remedy}"])
    if isinstance(raw.get(_TLS), dict):
        # A template that was not filled in leaves texts empty.
        raw[_TLS] = {key: value for key, value in raw[_TLS].items() if value != ""}
    outcome = checked(WebConfig, yaml_file.absolute(WebConfig, raw, path.parent))
    if outcome.mistakes:
        ranks = {key: rank for rank, key in enumerate(WebConfig.model_fields)}
        # Part by part; keys that are not known come first.
        found = sorted(outcome.mistakes, key=lambda m: ranks.get(str(m.path[0]), -1))
        raise told(path, found)
    return outcome.settings


def told(path: Path, mistakes: Iterable[Mistake]) -> ConfigurationError:
    """Make the error that names each mistake in a file with its place."""
    return ConfigurationError([f"{path}: {dotted(m.path)}: {m.text}" for m in mistakes])
