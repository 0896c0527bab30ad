"""What Eggplant DAI replies, reduced to the fields that are wanted.

Everything else is skipped in the decoder: the account's e-mail address (`username`) and the last
line of the log (`last_log`) never become Python objects. Reference: Eggplant DAI, sections A2, A3
and B1.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent executes, or executed last (section A3).

    Attributes:
        starttime, endtime: As `2018-06-01 10:06:45.545359+01`; no end while running.
        status: `Running`, `Passed`, `Failed` or `Incomplete`.
    """

    id: str | None = None
    modelname: str | None = None
    starttime: str | None = None
    endtime: str | None = None
    status: str | None = None


class AgentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One open agent connection (section A2).

    Attributes:
        port: Gone from the later edition of the reference.
        process_id: 0 when nothing runs. The same number is a text inside `execution_status`,
            so a text is accepted here too.
        execution_status: Only with activity.
    """

    agent_name: str | None = None
    port: int | None = None
    process_id: int | str | None = None
    execution_status: Execution | None = None


class TokenReply(msgspec.Struct, frozen=True, kw_only=True):
    """A token (section B1).

    Attributes:
        access_type: How the sample of the `/ai/auth` page names the token.
        expires_in: Seconds; some servers write numbers as text.
    """

    access_token: str | None = None
    access_type: str | None = None
    expires_in: float | str | None = None

    def __repr__(self) -> str:
        """Show nothing of the token."""
        return f"TokenReply(expires_in={self.expires_in!r})"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> float | None:
    """Return a PostgreSQL time stamp, whose offset may be hours only, as seconds of the epoch.

    A time without an offset could be anywhere in the day and is `None`, as is what is no time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return (moment - _EPOCH).total_seconds()
