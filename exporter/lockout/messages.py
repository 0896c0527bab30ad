"""Errors for calls that were not sent or were refused; each caller gets a new error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.errors import BlockedError, CallError, PollError, Reason


if TYPE_CHECKING:
    from exporter.lockout.policy import Policy


def held_back(
    policy: Policy, *, refused: bool, retry_at: float, now: float, reason: Reason = Reason.BLOCKED
) -> BlockedError:
    """Return the error that calls are blocked, because the credentials are or may be refused."""
    verb = "were" if refused else "may have been"
    seconds = max(0.0, retry_at - now)
    return BlockedError(
        f"the credentials {verb} refused; nothing is sent for {seconds:.0f} s or until they change,"
        f" {policy.explanation}",
        retry_at=retry_at,
        reason=reason,
    )


def no_room(policy: Policy, *, retry_at: float, now: float) -> BlockedError:
    """Return the error that too many calls of the last minute may have been refused."""
    return BlockedError(
        "too many replies of the last minute may have been refusals; nothing is sent for"
        f" {max(0.0, retry_at - now):.0f} s, {policy.explanation}",
        retry_at=retry_at,
    )


def unseen(policy: Policy, *, retry_at: float, now: float) -> BlockedError:
    """Return the error that refusals of other exporters are unknown without the store."""
    return BlockedError(
        "the store of the state is unreachable or has lost its data, so refusals of other exporters"
        f" are unknown; nothing is sent for {max(0.0, retry_at - now):.0f} s, {policy.explanation}",
        retry_at=retry_at,
    )


def unanswered(failure: Exception, *, now: float) -> Exception:
    """Return the error that a proof got no answer; an unexpected exception stays as it is."""
    if not isinstance(failure, PollError):
        return failure
    return BlockedError(
        f"the credentials could not be checked: {failure}",
        retry_at=failure.retry_at if isinstance(failure, BlockedError) else now,
        reason=failure.reason,
    )


def unclear() -> BlockedError:
    """Return the error that a proof decided nothing about a call."""
    return BlockedError("the credentials could not be checked", retry_at=0)


def refused() -> CallError:
    """Return the error that a call was sent and refused."""
    return CallError(Reason.AUTH, "the credentials were refused")


def closed() -> CallError:
    """Return the error that the source is closed."""
    return CallError(Reason.CONNECT, "the source was closed", sent=False)
