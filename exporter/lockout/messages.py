"""What a caller hears whose call was not let out; each gets an error of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.errors import BlockedError, CallError, PollError, Reason


if TYPE_CHECKING:
    from exporter.lockout.policy import Policy


def held_back(
    policy: Policy, *, refused: bool, retry_at: float, reason: Reason = Reason.BLOCKED
) -> BlockedError:
    """Return that calls are held back since the credentials were, or may have been, refused."""
    verb = "were" if refused else "may have been"
    return BlockedError(
        f"nothing is sent for a while: the credentials {verb} refused, {policy.explanation}",
        retry_at=retry_at,
        reason=reason,
    )


def no_room(policy: Policy, *, retry_at: float) -> BlockedError:
    """Return that no more calls may be refused for now."""
    return BlockedError(
        "nothing is sent for up to a minute: too many replies may have been refusals,"
        f" {policy.explanation}",
        retry_at=retry_at,
    )


def unanswered(failure: Exception, *, now: float) -> Exception:
    """Return that a proof got no answer; what is a bug of ours is told as it is."""
    if not isinstance(failure, PollError):
        return failure
    return BlockedError(
        f"the credentials could not be checked: {failure}",
        retry_at=failure.retry_at if isinstance(failure, BlockedError) else now,
        reason=failure.reason,
    )


def unclear() -> BlockedError:
    """Return that nobody knows whether a call was refused."""
    return BlockedError("the credentials could not be checked", retry_at=0)


def refused() -> CallError:
    """Return that a call was sent and refused."""
    return CallError(Reason.AUTH, "the credentials were refused")


def closed() -> CallError:
    """Return that the source is closed."""
    return CallError(Reason.CONNECT, "the source was closed", sent=False)
