"""Errors for callers whose call was not let out; each caller gets an error of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.errors import BlockedError, CallError, PollError, Reason


if TYPE_CHECKING:
    from exporter.lockout.policy import Policy


def held_back(
    policy: Policy, *, refused: bool, retry_at: float, now: float, reason: Reason = Reason.BLOCKED
) -> BlockedError:
    """Return that calls are held back since the credentials were, or may have been, refused."""
    verb = "were" if refused else "may have been"
    seconds = max(0.0, retry_at - now)
    return BlockedError(
        f"the credentials {verb} refused; nothing is sent for {seconds:.0f} s or until they change,"
        f" {policy.explanation}",
        retry_at=retry_at,
        reason=reason,
    )


def no_room(policy: Policy, *, retry_at: float, now: float) -> BlockedError:
    """Return that no more calls may be refused for now."""
    return BlockedError(
        "too many replies of the last minute may have been refusals; nothing is sent for"
        f" {max(0.0, retry_at - now):.0f} s, {policy.explanation}",
        retry_at=retry_at,
    )


def unseen(policy: Policy, *, retry_at: float, now: float) -> BlockedError:
    """Return that others may have been refused, which a store that is away does not tell."""
    return BlockedError(
        "the store of the state is away or has lost its data, and with it what was refused to other"
        f" exporters; nothing is sent for {max(0.0, retry_at - now):.0f} s, {policy.explanation}",
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
