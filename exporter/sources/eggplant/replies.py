"""The fields of Eggplant DAI's replies that are wanted, and no others.

Everything else is skipped in the decoder: the account's e-mail address (`username`) never becomes a
Python object. The last line of the log (`last_log`), which may hold anything, stays the bytes that
it came as, and only its beginning is looked at.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from exporter.sources.decode import Id, decode, well_formed


if TYPE_CHECKING:
    from exporter.sources.decode import Surprised


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """The run that an agent executes, or executed last.

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
    """One open agent connection.

    Attributes:
        port: Gone from the later edition of the vendor's documentation.
        process_id: 0 when nothing runs. The same number is a text inside `execution_status`,
            so a text is accepted here too.
        execution_status: Only with activity.
        last_log: Gone from the later edition, too.
    """

    agent_name: str | None = None
    port: Id = None
    process_id: Id = None
    execution_status: Execution | None = None
    last_log: msgspec.Raw = msgspec.Raw()


class TokenReply(msgspec.Struct, frozen=True, kw_only=True):
    """A token.

    Attributes:
        access_type: The token's name in the sample of the vendor's `/ai/auth` page.
        expires_in: Seconds; some servers write numbers as text.
    """

    access_token: str | None = None
    access_type: str | None = None
    expires_in: float | str | None = None

    def __repr__(self) -> str:
        """Show nothing of the token."""
        return f"TokenReply(expires_in={self.expires_in!r})"


def read_progress(
    body: bytes, run_id: str, *, operation: str, surprise: Surprised
) -> Execution | None:
    """Return what the reply about a run says of it, `None` if that is nothing.

    The reference shows an object; several are told of as a list. What is not said of the very run
    is not said of it.

    Raises:
        CallError: With `decode`, as `decode` raises it.
    """
    body = body.strip()
    if body in (b"", b"null"):
        return None
    if body.startswith(b"["):
        found = decode(body, list[Execution], operation=operation, surprise=surprise)
    else:
        found = [decode(body, Execution, operation=operation, surprise=surprise)]
    return next((each for each in found if each.id == run_id), None)


def is_internal_error(last_log: msgspec.Raw, surprise: Surprised) -> bool | None:
    """Return whether a log line tells of an error of the vendor's engine; `None` without a line."""
    if bytes(last_log) in (b"", b"null"):
        return None
    try:
        line = msgspec.json.decode(well_formed(bytes(last_log)), type=str)
    except ValueError:
        surprise("type")
        return None
    return line.lstrip().casefold().startswith("internal error")


def parse_time(text: str | None, surprise: Surprised) -> float | None:
    """Return a PostgreSQL time stamp, whose offset may be hours only, as seconds of the epoch.

    A time without an offset could be anywhere in the day and is `None`, as is what is no time:
    both are a surprise. No text is no time.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        surprise("type")
        return None
    return moment.timestamp()
