"""The replies of Eggplant DAI, reduced to the needed fields.

The decoder skips all other fields, so the account's e-mail address (`username`) never becomes a
Python object. The last line of the log (`last_log`) may hold secrets; it stays undecoded, and only
its beginning is checked.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from exporter.sources.decode import Id, decode, well_formed


if TYPE_CHECKING:
    from exporter.sources.decode import Surprised


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """The run that an agent executes or executed last.

    Attributes:
        starttime, endtime: A time such as `2018-06-01 10:06:45.545359+01`; no end while running.
        status: `Running`, `Passed`, `Failed` or `Incomplete`.
    """

    id: str | None = None
    modelname: str | None = None
    starttime: str | None = None
    endtime: str | None = None
    status: str | None = None


class AgentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One open connection of an agent.

    Attributes:
        port: The agent's port; missing from later editions of the vendor's documentation.
        process_id: 0 if no process runs. The same number is a text in `execution_status`, so a text
            is accepted here, too.
        execution_status: The current or last run; missing if there was none.
        last_log: The last log line; missing from later editions of the vendor's documentation.
    """

    agent_name: str | None = None
    port: Id = None
    process_id: Id = None
    execution_status: Execution | None = None
    last_log: msgspec.Raw = msgspec.Raw()


class TokenReply(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to a login.

    Attributes:
        access_token: The token.
        access_type: The token under its name in the example of the vendor's page on `/ai/auth`.
        expires_in: The token's lifetime in seconds; some servers send it as a text.
    """

    access_token: str | None = None
    access_type: str | None = None
    expires_in: float | str | None = None

    def __repr__(self) -> str:
        """Return a text without the token."""
        return f"TokenReply(expires_in={self.expires_in!r})"


def read_progress(
    body: bytes, run_id: str, *, operation: str, surprise: Surprised
) -> Execution | None:
    """Return the status of a run from the reply about it, or `None` if the reply has none.

    The vendor's reference shows one object, and a list for several runs. An object about another
    run is ignored.

    Raises:
        CallError: With the reason `decode`, if the reply is not the expected JSON.
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
    """Return whether a log line reports an internal error of the engine; `None` without a line."""
    if bytes(last_log) in (b"", b"null"):
        return None
    try:
        line = msgspec.json.decode(well_formed(bytes(last_log)), type=str)
    except ValueError:
        surprise("type")
        return None
    return line.lstrip().casefold().startswith("internal error")


def parse_time(text: str | None, surprise: Surprised) -> float | None:
    """Return a PostgreSQL time stamp, whose offset may have no minutes, as a Unix timestamp.

    Returns `None` for an empty text. A text that is not a time, or has no offset and so does not
    identify a moment, also gives `None` and counts as a surprise.
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
