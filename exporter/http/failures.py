"""The translation of the libraries' errors into a `CallError` with a reason and a message.

A library's own text is never shown: aiohttp's texts contain URLs with their queries, and others
quote headers.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

import aiohttp
import httpx

from exporter.errors import CallError, Reason


if TYPE_CHECKING:
    from exporter.http.exchange import Call


#: Explanations of OpenSSL's verification codes that a user can act on (`man openssl-verify`).
_CERTIFICATE_FAULTS = {
    9: "it is not yet valid",
    10: "it has expired",
    18: "it is self-signed; name it in ca_file to trust it",
    19: "the root of its chain is unknown; name the root's certificate in ca_file",
    20: "its issuer is unknown; name the issuer's certificate in ca_file",
    21: "its issuer is unknown; name the issuer's certificate in ca_file",
    23: "it is revoked",
    62: "it is for another host name",
    64: "it is for another address",
}

_PLAIN = "the port may speak plain HTTP"
_VERSION = "there is no TLS version in common"
_CLIENT_CERTIFICATE = "the server does not accept the client certificate"

#: Explanations of OpenSSL's reasons. OpenSSL reports a wrong version or length when the other side
#: does not speak TLS.
_TLS_FAULTS = {
    "WRONG_VERSION_NUMBER": _PLAIN,
    "HTTP_REQUEST": _PLAIN,
    "PACKET_LENGTH_TOO_LONG": _PLAIN,
    "RECORD_LAYER_FAILURE": _PLAIN,
    "UNSUPPORTED_PROTOCOL": _VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _VERSION,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "the server accepts none of the offered algorithms, or requires a client certificate"
    ),
    "TLSV1_UNRECOGNIZED_NAME": "the server does not know the host name",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server requires a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": _CLIENT_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": _CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _CLIENT_CERTIFICATE,
    "UNEXPECTED_EOF_WHILE_READING": "the server closed the connection",
}


def call_error(
    call: Call, error: BaseException, *, request: httpx.Request, head: bool
) -> CallError:
    """Return the translation of a library's error.

    Args:
        call: The failed call; the message contains its operation.
        error: Any error of httpx, aiohttp, httpcore, ssl or asyncio.
        request: The request, with host and port; the transport has added the `proxy`, if any.
        head: Whether the head of a reply had arrived.
    """
    chain = _chain(error)
    proxy: httpx.URL | None = request.extensions.get("proxy")
    peer = "the server" if call.secret_url else _host_and_port(request.url)
    if proxy is not None:
        peer += f" by way of the proxy {_host_and_port(proxy)}"
    reason, text, sent = (
        _tls(chain, peer)
        or _timeout(chain, peer)
        or _not_http(chain)
        or _connection(chain, peer, head=head)
    )
    if _has(chain, socket.gaierror, aiohttp.ClientConnectorDNSError):
        # A proxy resolves the host name, so with a proxy the unknown name is the proxy's.
        name = "" if call.secret_url and proxy is None else f": {(proxy or request.url).host}"
        reason, text, sent = Reason.DNS, f"the host name was not found{name}", False
    dropped = sent and not head and reason is Reason.CONNECT
    lost = dropped and not _has(chain, httpx.ProxyError)
    return CallError(reason, f"{call.operation}: {text}", sent=sent or head, lost=lost)


def repeatable(error: CallError) -> bool:
    """Return whether a call that only reads was not sent, so that the client may repeat it.

    A call that was sent may have been refused, so only the lock-out guard may repeat it.
    """
    return not error.sent and error.reason in (Reason.DNS, Reason.CONNECT, Reason.TIMEOUT)


#: Reason, text, and whether the vendor may have seen the call.
_Finding = tuple[Reason, str, bool]


def _host_and_port(url: httpx.URL) -> str:
    """Return host and port, without the user, password or query that a URL can contain."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}"


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and all its causes, because httpx wraps the causes in its own errors."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop(0)
        if found is None or found in chain:
            continue
        chain.append(found)
        # Without `__context__`, which may be an unrelated error that the caller was handling.
        waiting.append(found.__cause__)
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
        # aiohttp's and httpcore's errors have the system's error among their arguments; httpcore's
        # pool removes the cause.
        waiting += (part for part in found.args if isinstance(part, BaseException))
    return chain


def _has(chain: list[BaseException], *types: type[BaseException]) -> bool:
    return any(isinstance(found, types) for found in chain)


def _tls(chain: list[BaseException], peer: str) -> _Finding | None:
    for found in chain:
        if isinstance(found, ssl.SSLCertVerificationError):
            # aiohttp's subclass does not run the constructor, so it has no code.
            code = getattr(found, "verify_code", None)
            if code is not None:
                fault = _CERTIFICATE_FAULTS.get(code, f"OpenSSL's verification code is {code}")
                return Reason.TLS, f"the certificate of {peer} was not accepted: {fault}", False
    if not _has(chain, ssl.SSLError):
        return None
    # OpenSSL's names, such as WRONG_VERSION_NUMBER; aiohttp's subclass has none.
    names = (getattr(found, "reason", None) for found in chain if isinstance(found, ssl.SSLError))
    name: str = next(filter(None, names), "")
    shown = f": {name}" if name.isascii() and name.replace("_", "").isalnum() else ""
    if name in _TLS_FAULTS:
        shown += f" ({_TLS_FAULTS[name]})"
    sent = not _has(chain, aiohttp.ClientSSLError, httpx.ConnectError)
    return Reason.TLS, f"TLS with {peer} failed{shown}", sent


def _timeout(chain: list[BaseException], peer: str) -> _Finding | None:
    if not _has(chain, httpx.TimeoutException, TimeoutError):
        return None
    connecting = (httpx.ConnectTimeout, httpx.PoolTimeout, aiohttp.ClientConnectorError)
    if _has(chain, aiohttp.ConnectionTimeoutError, *connecting):
        return Reason.TIMEOUT, f"no connection to {peer} in time", False
    return Reason.TIMEOUT, "no reply in time", True


def _not_http(chain: list[BaseException]) -> _Finding | None:
    invalid = _has(chain, aiohttp.ClientResponseError)
    for found in chain:
        # h11 has the same class for broken HTTP and for a connection that ended too soon.
        if isinstance(found, httpx.RemoteProtocolError):
            text = str(found)
            invalid = not text.startswith(("Server disconnected", "peer closed connection"))
    if invalid:
        # Both libraries quote the first line. A TLS server's reply starts with a TLS alert.
        alert = any(r"b'\x15\x03" in str(found) for found in chain)
        hint = " (the port may speak TLS)" if alert else ""
        return Reason.DECODE, f"the reply is not valid HTTP{hint}", True
    return None


def _connection(chain: list[BaseException], peer: str, *, head: bool) -> _Finding:
    if head:
        return Reason.CONNECT, "the reply was cut off", True
    for found in chain:
        if isinstance(found, httpx.ProxyError):
            # httpcore's text begins with the proxy's status. A proxy may lock the exporter out
            # after refusals, too, so a call that the proxy refused counts as sent.
            refused = str(found).startswith("407")
            text = "the proxy refused the credentials" if refused else "the proxy did not connect"
            return Reason.CONNECT, text, refused
    codes = (found.errno or 0 for found in chain if isinstance(found, OSError))
    name = next((errno.errorcode[code] for code in codes if code in errno.errorcode), "")
    shown = f" ({name})" if name else ""
    if name == "ECONNREFUSED":
        return Reason.CONNECT, f"the connection was refused by {peer}", False
    unsent = _has(chain, aiohttp.ClientConnectorError, aiohttp.InvalidURL) or (
        _has(chain, httpx.ConnectError, httpx.UnsupportedProtocol)
    )
    if unsent:
        return Reason.CONNECT, f"no connection to {peer}{shown}", False
    if not _has(chain, OSError, httpx.HTTPError, aiohttp.ClientError):
        # An unexpected error: show only its class, because its text may contain a secret.
        return Reason.CONNECT, f"failed unexpectedly ({type(chain[0]).__name__})", True
    return Reason.CONNECT, f"the connection was dropped by {peer}{shown}", True
