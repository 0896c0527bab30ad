"""One run or one test, looked at now, for people who wonder why it reads as it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.sources.base import Explanation
from exporter.sources.blazemeter.events import is_understood
from exporter.sources.blazemeter.masters import MasterRow, read_master
from exporter.sources.blazemeter.replies import MasterReply, MastersReply, StatusReply
from exporter.sources.blazemeter.runs import read_run, read_status, read_tail
from exporter.sources.blazemeter.suites import read_suite
from exporter.sources.decode import NOT_SHOWN, redacted_reply


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.sources.blazemeter.client import BlazeMeterClient
    from exporter.sources.decode import Surprised


async def explain_run(
    client: BlazeMeterClient,
    run_id: str,
    location_names: Mapping[str, str],
    surprise: Surprised,
) -> Explanation:
    """Look at a run, with its events.

    Raises:
        PollError: The look failed.
    """
    bodies: list[bytes] = []
    master = await client.master(run_id, seen=bodies.append)
    status = await client.status(run_id, events=True, seen=bodies.append)
    row = read_master(msgspec.structs.replace(master, id=run_id), surprise)
    read = read_status(status, surprise)
    tail = read_tail(status, surprise) if read.over else None
    return Explanation(
        reading=read_run(row or MasterRow(run_id=run_id, name=run_id), read, tail, location_names),
        reply={
            "master": redacted_reply(bodies[0], MasterReply),
            "status": _without_free_text(redacted_reply(bodies[-1], StatusReply)),
        },
    )


async def explain_suite(
    client: BlazeMeterClient, suite_id: str, surprise: Surprised
) -> Explanation:
    """Look at the newest runs of a test.

    Raises:
        LookupError: It has no runs any more.
        PollError: The look failed.
    """
    bodies: list[bytes] = []
    reply = await client.masters({"testId": suite_id}, seen=bodies.append)
    rows = [
        row for master in reply.result or () if (row := read_master(master, surprise)) is not None
    ]
    if not rows:
        raise LookupError(f"suites: {suite_id!r} has no runs any more")
    return Explanation(
        reading=read_suite(
            suite_id,
            [row for row in rows if row.ended is not None],
            [row for row in rows if row.ended is None],
        ),
        reply=redacted_reply(bodies[-1], MastersReply),
    )


def _without_free_text(reply: Any) -> Any:
    """Hide the messages of events that are not understood: they can hold signed links."""
    result = reply.get("result") if isinstance(reply, dict) else None
    events = result.get("events") if isinstance(result, dict) else None
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict) and not is_understood(str(event.get("message"))):
            event["message"] = NOT_SHOWN
    return reply
