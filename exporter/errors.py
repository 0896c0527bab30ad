"""Everything that can go wrong: one tree of errors and one closed list of reasons.

ExporterError
├── ConfigurationError      the configuration is wrong; nothing was started or changed
├── StartError              the configuration is right, but the daemon cannot start
├── StateError              the store of the state cannot be used
└── PollError               a poll, or one of its calls, ended without a valid answer
    ├── CallError           a call failed: ours or the vendor's fault, never a target's
    ├── SuspectError        the reply may be a refusal of the credentials; the guard finds out
    └── BlockedError        nothing was sent: the breaker is open or the vendor asked to wait
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence


@unique
class Reason(StrEnum):
    """Why a target is down or a call failed: the values of every `reason` label and log key."""

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

#: The statuses of a gateway in front of the API; if they counted, each outage would cost a minute.
_NOT_ASKED = frozenset({502, 503, 504})


class ExporterError(Exception):
    """The root: whoever catches this catches all that is ours."""


class ConfigurationError(ExporterError):
    """The configuration cannot be used.

    Attributes:
        problems: One sentence per mistake, each with its place and the remedy.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StartError(ExporterError):
    """The daemon cannot start, for instance because its port is in use."""


class StateError(ExporterError):
    """The store of the state cannot be used: not writable, damaged, of a newer version, away."""


class PollError(ExporterError):
    """A poll or a call of it failed.

    Attributes:
        reason: The label value under which the failure is counted.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CallError(PollError):
    """A call to a vendor failed.

    The message is made by us: it names the operation and the failure and never holds a part of
    a body, a header or a query, since those can carry secrets.

    Attributes:
        status: The HTTP status, where there was one.
        sent: Whether the vendor may have seen the call.
        lost: Whether the connection ended before an answer began, and the call may be sent again.
        hurried: Whether other tries had used up a part of its time.
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
        """True if nothing of the API's own came home, so that it may have been a refusal."""
        return self.sent and self.reason in _UNREAD and self.status not in _NOT_ASKED


class SuspectError(PollError):
    """A reply that may mean that the credentials were refused.

    Attributes:
        own: What to raise if the credentials turn out to be accepted: the call's own error.
        kind: What the error is, so that it is known again: the vendor's flags and text. It may
            hold anything, so it is hashed before anybody keeps it.
    """

    def __init__(self, own: PollError, *, kind: str = "") -> None:
        super().__init__(own.reason, str(own))
        self.own = own
        self.kind = kind or f"{own.reason} {own}"


class BlockedError(PollError):
    """Nothing was sent.

    Attributes:
        retry_at: Monotonic seconds at which the next call may be tried.
    """

    def __init__(self, message: str, *, retry_at: float, reason: Reason = Reason.BLOCKED) -> None:
        super().__init__(reason, message)
        self.retry_at = retry_at
