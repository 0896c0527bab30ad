"""Calls to a vendor and their replies, as plain data.

Their `repr` shows no headers and no body, because both can contain secrets.
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


#: The statuses that have their own reason.
_REASONS = {401: Reason.AUTH, 403: Reason.ACCESS_DENIED, 429: Reason.RATE_LIMITED}


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits, TLS files and proxy of one source's calls.

    Attributes:
        connect_timeout: Seconds for name resolution, connection and TLS handshake.
        read_timeout: Seconds between two parts of a reply.
        total_timeout: Seconds for a call with all its tries.
        max_reply_bytes: Size limit of a reply's body, compressed and decompressed.
        retries: Number of tries after the first; each needs at least half of the total time-out.
        requests_per_minute: Limit of tries in any 60 seconds.
        connections: Limit of open connections.
        ca_file: Certificates to trust instead of the system's.
        proxy_url: Proxy for all calls; without it, the environment variables such as `HTTPS_PROXY`
            apply.
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
    """A call to a vendor or to a receiver of alerts.

    Attributes:
        operation: The call's name in metrics and messages.
        repeatable: Whether the call may be repeated, because it only reads.
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
    """A complete reply, with any status.

    Attributes:
        headers: The headers by their lower-case names.
        body: The decompressed body.
        waited_seconds: How long the call waited for the budget and in pauses before it was sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    waited_seconds: float = 0.0

    @property
    def date_seconds(self) -> float | None:
        """The reply's time by the vendor's clock, in Unix seconds with a resolution of 1 s.

        `None` if the header `Date` is missing or invalid.
        """
        date = http_date(self.headers.get("date", ""))
        return date if date is not None and date > 0 else None

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show what `repr` shows."""
        return [("status", self.status), ("bytes", len(self.body))]


def status_error(operation: str, reply: Reply) -> CallError | None:
    """Return the error that a reply's status means, `None` if the status is 2xx."""
    status = reply.status
    if 200 <= status < 300:
        return None
    text = f"{operation}: the vendor answered with status {status}"
    if 300 <= status < 400:
        # Without the location, which can contain a token.
        text = f"{operation}: the vendor answered with a redirect ({status}); check the url"
    elif status == 404:
        text += "; check the url"
    return CallError(reason_of(status), text, status=status)


def http_date(value: str) -> float | None:
    """Return the time of a date in a header (RFC 9110, 5.6.7).

    Returns:
        Unix seconds, `None` if the date is invalid.
    """
    try:
        date = email.utils.parsedate_to_datetime(value)
        # A date with the zone "-0000" is parsed without a zone, but is in UTC.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def reason_of(status: int) -> Reason:
    """Return the reason of a call's failure by its status, which is not 2xx.

    Returns:
        401 `auth`, 403 `access_denied`, 429 `rate_limited`, other 3xx and 4xx `http_4xx`, 5xx and
        above `http_5xx`, anything else `decode`.
    """
    if status in _REASONS:
        return _REASONS[status]
    if status >= 500:
        return Reason.HTTP_5XX
    return Reason.HTTP_4XX if status >= 300 else Reason.DECODE
