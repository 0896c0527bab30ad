"""TLS of the server: contexts from certificates in memory, and a context that can change."""

from __future__ import annotations

import ipaddress
import ssl
from typing import TYPE_CHECKING, Any, ClassVar, Self

import structlog
from cryptography import x509

from exporter.config import pem
from exporter.web.access.config import CIPHER_SUITES, CURVES


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from structlog.typing import FilteringBoundLogger

    from exporter.web.access.config import TlsConfig


_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

_log: FilteringBoundLogger = structlog.get_logger("exporter.web")


class UnusableError(Exception):
    """Certificates and keys cannot be used; the text has the reason and quotes none of them."""


class ChangingContext(ssl.SSLContext):
    """A context that takes the TLS of each new connection from the current context.

    A context in use cannot be changed safely: certificate and key would be replaced one after the
    other, and a client CA could never be removed. So the server uses this object all the time, and
    each connection gets its TLS from another context.
    """

    _current: Callable[[], ssl.SSLContext]

    def __new__(cls, current: Callable[[], ssl.SSLContext]) -> Self:
        """Create a context from a function that returns the current one."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._current = current
        return made

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Return the TLS object of a new connection, by the current context."""
        return self._current().wrap_bio(*args, **kwargs)


def make_context(config: TlsConfig, *, cert: bytes, key: bytes, client_ca: bytes) -> ssl.SSLContext:
    """Return a context.

    Args:
        config: Versions, ciphers and the verification of clients.
        cert: The certificate and its chain, PEM.
        key: The certificate's key, PEM.
        client_ca: The certificates of authorities that clients are verified with, PEM, or empty.

    Raises:
        UnusableError: Certificate and key are invalid or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.maximum_version = _VERSIONS[config.max_version]
    if config.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    _set_ciphers(context, config.cipher_suites)
    for curve in config.curve_preferences:
        try:
            context.set_ecdh_curve(CURVES[curve])
        except (ssl.SSLError, ValueError):
            raise UnusableError(f"the TLS library has no curve {curve}") from None
    _load_pair(context, cert, key)
    if config.verifies_clients:
        try:
            # Without comments between the certificates, which may be in any alphabet.
            context.load_verify_locations(cadata=client_ca.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError):
            raise UnusableError("the client CA has no certificate in PEM format") from None
        required = config.requires_clients
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    allowed = frozenset(map(_normal, config.client_allowed_sans))
    context.sslobject_class = type("_ConnectionForSome", (_Connection,), {"allowed": allowed})
    return context


def certificate_end(cert: bytes) -> float | None:
    """Return the expiry of a certificate, in Unix seconds; `None` if only OpenSSL can parse it.

    Args:
        cert: The certificate and its chain, PEM; the first certificate counts.
    """
    try:
        return x509.load_pem_x509_certificate(cert).not_valid_after_utc.timestamp()
    except Exception:  # noqa: BLE001 - OpenSSL accepts the certificate, so the server can use it
        return None


def _set_ciphers(context: ssl.SSLContext, names: Collection[str]) -> None:
    older = [CIPHER_SUITES[name] for name in names if CIPHER_SUITES[name]]
    if older:
        try:
            context.set_ciphers(":".join(older))
        except ssl.SSLError:
            raise UnusableError("the TLS library has none of the cipher_suites") from None
    elif names:
        # With suites of TLS 1.3 only, older versions of TLS have no allowed suite.
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _load_pair(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    asked = False

    def passphrase() -> str:
        # Without a passphrase from here, OpenSSL would ask on the terminal.
        nonlocal asked
        asked = True
        return ""

    try:
        pem.load_chain(context, cert, key, passphrase)
    except ssl.SSLError as error:
        if asked:
            raise UnusableError("the key has a passphrase; store it without one") from None
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UnusableError("certificate and key do not belong together") from None
        if b"PRIVATE KEY-----" not in key:
            raise UnusableError("key or key_file holds no private key in PEM format") from None
        if b"CERTIFICATE-----" not in cert:
            raise UnusableError("cert or cert_file holds no certificate in PEM format") from None
        why = (error.reason or "not in PEM format").lower().replace("_", " ")
        raise UnusableError(f"certificate or key cannot be used: {why}") from None


class _Connection(ssl.SSLObject):
    """The TLS of one connection; logs why a client was refused, which the client does not learn."""

    allowed: ClassVar[Collection[str]] = ()

    def do_handshake(self) -> None:
        """Continue the handshake, and check the client's names at its end."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            _log.debug("handshake_failed", message=error.reason or "the client disconnected")
            raise
        if self.allowed:
            names = names_in(self.getpeercert() or {})
            if names.isdisjoint(self.allowed):
                _log.warning("client_refused", names=sorted(names))
                raise ssl.SSLCertVerificationError("the client's certificate has no allowed name")


def names_in(certificate: Mapping[str, Any]) -> set[str]:
    """Return the subject alternative names of a certificate that the file can allow."""
    kinds = {"DNS", "IP Address", "email", "URI"}
    return {
        _normal(value) for kind, value in certificate.get("subjectAltName", ()) if kind in kinds
    }


def _normal(name: str) -> str:
    """Return an IP address in its short form, and any other name unchanged."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name
