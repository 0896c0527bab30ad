"""All errors of the exporter in one tree, and the closed list of failure reasons.

ExporterError
├── ConfigurationError      the configuration is wrong; nothing was started or changed
├── StartError              the configuration is right, but the daemon cannot start
├── StateError              the state store cannot be used
└── PollError               a poll, or one of its calls, ended without a valid answer
    ├── CallError           a call failed; our fault or the vendor's, never a target's
    ├── SuspectError        the reply may refuse the credentials; the guard checks that
    └── BlockedError        nothing was sent: the breaker is open or the vendor asked to wait
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence


@unique
class Reason(StrEnum):
    """Reason why a target is down or a call failed: the values of `reason` in labels and logs."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    AUTH = "auth"
    ACCESS_DENIED = "access_denied"
    RATE_LIMITED = "rate_limited"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    DECODE = "decode"
    API_ERROR = "api_error"
    NOT_REACHABLE = "not_reachable"
    UNKNOWN_ID = "unknown_id"
    NOT_CONNECTED = "not_connected"
    NO_HEARTBEAT = "no_heartbeat"
    OUTDATED = "outdated"
    BLOCKED = "blocked"


_UNREAD = frozenset(
    [Reason.TIMEOUT, Reason.CONNECT, Reason.TLS, Reason.DECODE, Reason.HTTP_4XX, Reason.HTTP_5XX]
)

#: Statuses that a gateway sends when it cannot reach the API. Counted as possible refusals, they
#: would block the calls for a minute after each outage.
_GATEWAY = frozenset({502, 503, 504})


class ExporterError(Exception):
    """The root of all errors that the exporter raises itself."""


class ConfigurationError(ExporterError):
    """The configuration cannot be used.

    Attributes:
        problems: One sentence per mistake, with the setting's path and the remedy.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StartError(ExporterError):
    """The daemon cannot start, for instance because its port is in use."""


class StateError(ExporterError):
    """The state store is unreachable, not writable, damaged or written by a newer version."""


class PollError(ExporterError):
    """A poll, or one of its calls, failed.

    Attributes:
        reason: The label value under which the failure is counted.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CallError(PollError):
    """A call to a vendor failed.

    The exporter writes the message: the operation and the failure, never a part of a body, a
    header or a query, since those can contain secrets.

    Attributes:
        status: The HTTP status, if there was a reply.
        sent: Whether the vendor may have received the call.
        lost: Whether the connection ended before the reply began, so that a retry is allowed.
        hurried: Whether earlier tries had used up part of the call's time limit.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        status: int | None = None,
        sent: bool = True,
        lost: bool = False,
    ) -> None:
        super().__init__(reason, message)
        self.status = status
        self.sent = sent
        self.lost = lost
        self.hurried = False

    @property
    def unread(self) -> bool:
        """True if the call was sent and no reply of the API was read; it may be a refusal."""
        return self.sent and self.reason in _UNREAD and self.status not in _GATEWAY


class SuspectError(PollError):
    """A reply that may mean that the vendor refused the credentials.

    Attributes:
        own: The call's own error, raised if the credentials turn out to be accepted.
        kind: The vendor's flags and text, by which the guard recognises the same error again.
            They may contain secrets, so only a hash of them is stored.
    """

    def __init__(self, own: PollError, *, kind: str = "") -> None:
        super().__init__(own.reason, str(own))
        self.own = own
        self.kind = kind or f"{own.reason} {own}"


class BlockedError(PollError):
    """Nothing was sent.

    Attributes:
        retry_at: Time of the next allowed call, monotonic seconds.
    """

    def __init__(self, message: str, *, retry_at: float, reason: Reason = Reason.BLOCKED) -> None:
        super().__init__(reason, message)
        self.retry_at = retry_at
