"""Calls to a vendor and its replies, apart from the way they travel.

Nothing in here shows a header or a body when it is printed: both can carry secrets.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec

from exporter.config.secret import Secret
from exporter.errors import CallError, Reason


#: The statuses that have a reason of their own.
_REASONS = {401: Reason.AUTH, 403: Reason.ACCESS_DENIED, 429: Reason.RATE_LIMITED}


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and TLS material of one source's calls.

    Attributes:
        connect_timeout: Seconds for the name, the connection and the TLS handshake.
        read_timeout: Seconds between two pieces of a reply.
        total_timeout: Seconds for a call with all its tries.
        max_reply_bytes: Limit of a reply's body, compressed or not.
        retries: Tries after the first, each of them with half of the total at least.
        requests_per_minute: Limit of tries in any 60 seconds.
        connections: Limit of open connections.
        ca_file: Certificates to trust instead of the system's.
        proxy_url: Proxy for all calls; without it the usual environment variables count.
    """

    connect_timeout: float = 5.0
    read_timeout: float = 15.0
    total_timeout: float = 15.0
    max_reply_bytes: int = 16 << 20
    retries: int = 2
    requests_per_minute: int | None = None
    connections: int = 3
    ca_file: Path | None = None
    insecure_skip_verify: bool = False
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    proxy_url: Secret | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request.

    Attributes:
        operation: What it is called in metrics and messages.
        repeatable: Whether it may be sent again: it only reads.
        secret_url: Whether messages must not name the host and the port.
    """

    operation: str
    method: str
    url: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    content: bytes = b""
    repeatable: bool = True
    secret_url: bool = False

    def __repr__(self) -> str:
        return f"Call({self.operation!r}, {self.method!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show what `repr` shows."""
        return [("operation", self.operation), ("method", self.method)]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer, whatever its status.

    Attributes:
        headers: By lower-case names.
        body: Decompressed.
        waited_seconds: How long the call waited for the budget and in pauses before it was sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    waited_seconds: float = 0.0

    @property
    def date_seconds(self) -> float | None:
        """Return when it was made by the vendor's clock, epoch seconds, with a resolution of 1 s.

        `None` if it does not say, or in a way that cannot be read.
        """
        date = http_date(self.headers.get("date", ""))
        return date if date is not None and date > 0 else None

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show what `repr` shows."""
        return [("status", self.status), ("bytes", len(self.body))]


def status_error(operation: str, reply: Reply) -> CallError | None:
    """Return what a reply's status means, `None` if it is 2xx."""
    status = reply.status
    if 200 <= status < 300:
        return None
    text = f"{operation}: the vendor answered with status {status}"
    if 300 <= status < 400:
        # The location stays out: it can carry a token.
        text = f"{operation}: the vendor answered with a redirect ({status}); check the url"
    elif status == 404:
        text += "; check the url"
    return CallError(reason_of(status), text, status=status)


def http_date(value: str) -> float | None:
    """Read a date in a header (RFC 9110, 5.6.7).

    Returns:
        Epoch seconds, `None` if it is no date.
    """
    try:
        date = email.utils.parsedate_to_datetime(value)
        # A date "-0000" comes without a zone, and is UTC all the same.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def reason_of(status: int) -> Reason:
    """Return why a call failed that was answered with a status other than 2xx.

    Returns:
        401 `auth`, 403 `access_denied`, 429 `rate_limited`, other 3xx and 4xx `http_4xx`, 5xx and
        above `http_5xx`, anything else `decode`.
    """
    if status in _REASONS:
        return _REASONS[status]
    if status >= 500:
        return Reason.HTTP_5XX
    return Reason.HTTP_4XX if status >= 300 else Reason.DECODE
