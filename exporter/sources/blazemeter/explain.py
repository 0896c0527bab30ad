"""Explanations of a single run or suite, read on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.sources.base import Explanation
from exporter.sources.blazemeter.masters import MULTI, MasterRow, read_page
from exporter.sources.blazemeter.replies import Envelope, ListReply, Master, Status
from exporter.sources.blazemeter.runs import read_run
from exporter.sources.blazemeter.status import is_understood, read_events, read_status
from exporter.sources.blazemeter.suites import read_suite
from exporter.sources.decode import NOT_SHOWN, part_of, redacted_reply


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.sources.blazemeter.client import BlazeMeterClient
    from exporter.sources.blazemeter.tracker import RunTracker


class RunExplainer:
    """Explains the runs and suites that a tracker knows."""

    def __init__(
        self, client: BlazeMeterClient, tracker: RunTracker, *, location_names: Mapping[str, str]
    ) -> None:
        self._client = client
        self._surprise = client.surprise
        self._tracker = tracker
        self._location_names = location_names

    async def run(self, run_id: str) -> Explanation:
        """Return the reading of a run with its events, read now.

        Raises:
            LookupError: The run is neither configured, nor in flight, nor recently ended.
            PollError: A call failed.
        """
        if not await self._tracker.knows_run(run_id):
            raise LookupError(f"runs: there is no {run_id!r}")
        bodies: list[bytes] = []
        row = await self._tracker.read_description(run_id, seen=bodies.append)
        reply = await self._client.status(run_id, events=True, seen=bodies.append)
        status = read_status(reply, self._surprise)
        events = read_events(reply.events, self._surprise) if status.over else None
        row = row or MasterRow(run_id=run_id, name=run_id)
        return Explanation(
            reading=read_run(row, status, events, self._location_names),
            reply={
                "master": redacted_reply(bodies[0], Envelope[Master]),
                "status": _without_free_text(redacted_reply(bodies[-1], Envelope[Status])),
            },
        )

    async def suite(self, suite_id: str) -> Explanation:
        """Return the reading of a suite from its newest runs, read now.

        Raises:
            LookupError: There is no such suite, or it has no recent run.
            PollError: The call failed.
        """
        known = await self._tracker.known_suite(suite_id)
        if known is None:
            raise LookupError(f"suites: there is no {suite_id!r}")
        number = suite_id.removeprefix(MULTI)
        scope = {"testId" if number == suite_id else "collectionId": number}
        bodies: list[bytes] = []
        reply = await self._client.masters(scope, seen=bodies.append)
        rows = read_page(reply.result or (), self._surprise)
        if not rows:
            raise LookupError(f"suites: {suite_id!r} has no runs any more")
        return Explanation(
            reading=read_suite(
                suite_id,
                known.suite,
                [row for row in rows if row.ended is not None],
                [row for row in rows if row.ended is None],
                results=self._tracker.results,
            ),
            reply=redacted_reply(bodies[-1], ListReply[Master]),
        )


def _without_free_text(reply: Any) -> Any:
    """Hide the messages of events in an unknown form, because these can hold signed links."""
    events = part_of(reply, "result", "events")
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict) and not is_understood(str(event.get("message"))):
            event["message"] = NOT_SHOWN
    return reply
