"""The task `runs`: finds runs, follows those in flight, and keeps the history of their tests.

A poll lists the workspaces, reads the descriptions that no list gave, and asks the runs in flight
where they stand. A run that was once seen in flight is followed until it is over, even when the
lists do not show it any more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Outcome
from exporter.lockout.queue import Priority
from exporter.sources.base import Explanation, Poll
from exporter.sources.blazemeter.calls import PollCalls, fan_out
from exporter.sources.blazemeter.client import BlazeMeterClient, NotFoundError, Seen
from exporter.sources.blazemeter.memory import RunsMemory, newest
from exporter.sources.blazemeter.replies import Envelope, Master, MastersReply, Status
from exporter.sources.blazemeter.runs import (
    MasterRow,
    SuiteHistory,
    TrackedRun,
    read_master,
    read_masters,
    read_page,
    read_run,
    read_suite,
)
from exporter.sources.blazemeter.status import is_understood, read_events, read_status
from exporter.sources.decode import NOT_SHOWN, part_of, redacted_reply
from exporter.sources.memory import moment_of, remembered, unix_of


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from exporter.clock import Moment
    from exporter.fleet.readings import Run, Suite


A = TypeVar("A")

TASK = "runs"

#: The verdict can come after the end, and reading the events may take a second try: for so long
#: after its end a run is asked about again.
SETTLE_SECONDS = 600.0

#: The vendor's clock may be behind ours by so much without a run being missed.
CLOCK_MARGIN_SECONDS = 600.0


class RunTracker:
    """Follows the runs of one source from poll to poll."""

    def __init__(self, client: BlazeMeterClient, *, location_names: Mapping[str, str]) -> None:
        """Go on from the memory, if there is one; `location_names` may change while this lives."""
        self._settings = client.settings
        self._client = client
        self._clock = client.context.clock
        self._surprise = client.surprise
        self._location_names = location_names
        self._stale_after = client.settings.stale_after_for(TASK)
        self._configured = dict.fromkeys(str(run_id) for run_id in client.settings.masters)
        self._tracked: dict[str, TrackedRun] = {}
        # Runs that are not to be followed again, with the time of that decision.
        self._done: dict[str, float] = {}
        self._suites = SuiteHistory()
        self._polled = False
        self._listed: dict[int, Moment] = {}  # by workspace: when its newest good listing began
        self._recall()

    async def poll(self) -> Poll:
        """Read all runs.

        Raises:
            PollError: Not one call was answered.
        """
        calls = PollCalls()
        self._polled = True
        described = await self._list(calls)
        described |= await self._describe(calls, described)
        for row in described.values():
            self._follow(row)
        await self._ask_statuses(calls, described)
        calls.check()
        self._forget_finished()
        return Poll(
            readings=(*self._read_runs(), *self._read_suites()),
            failures=tuple(calls.failures),
            memory=msgspec.json.encode(self._memory()),
        )

    async def explain_run(self, run_id: str) -> Explanation:
        """Read one run now, with its events.

        Raises:
            LookupError: It is neither configured, nor in flight, nor just ended.
            PollError: A call failed.
        """
        if run_id not in self._configured:
            await self._poll_once()
            if run_id not in self._tracked:
                raise LookupError(f"runs: there is no {run_id!r}")
        bodies: list[bytes] = []
        row = await self._read_description(run_id, seen=bodies.append)
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

    async def explain_suite(self, suite_id: str) -> Explanation:
        """Read one test's newest runs now.

        Raises:
            LookupError: There is no such test, or it had no run of late.
            PollError: The call failed.
        """
        await self._poll_once()
        if all(suite.suite_id != suite_id for suite in self._read_suites()):
            raise LookupError(f"suites: there is no {suite_id!r}")
        bodies: list[bytes] = []
        reply = await self._client.masters({"testId": suite_id}, seen=bodies.append)
        rows = read_page(reply.result or (), self._surprise)
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

    def _recall(self) -> None:
        """Take from the memory what the configuration still asks for."""
        memory = remembered(self._client, TASK, RunsMemory)
        if memory is None:
            return
        now = self._clock.now()
        for tracked in filter(lambda tracked: self._asked_for(tracked.row), memory.followed):
            run = tracked.with_times(lambda unix: moment_of(unix, now).monotonic)
            self._tracked[run.row.run_id] = run
        self._done = {each: moment_of(at, now).monotonic for each, at in memory.done.items()}
        for row in filter(self._asked_for, memory.finished):
            self._suites.note(row)
        if memory.selection == self._selection():
            self._listed = {
                each: moment_of(at, now)
                for each, at in memory.listed.items()
                if each in self._settings.workspaces
            }

    def _memory(self) -> RunsMemory:
        now = self._clock.now()
        followed = newest(self._tracked.values(), lambda tracked: tracked.read_at)
        finished = newest(self._suites.rows(), lambda row: row.ended or row.created or 0.0)
        done = newest(self._done.items(), lambda item: item[1])
        return RunsMemory(
            version=1,
            followed=tuple(run.with_times(partial(unix_of, now=now)) for run in followed),
            done={run_id: unix_of(at, now) for run_id, at in done},
            finished=finished,
            listed={each: at.unix for each, at in self._listed.items()},
            selection=self._selection(),
        )

    def _asked_for(self, row: MasterRow) -> bool:
        listed = row.workspace in self._settings.workspaces
        return row.run_id in self._configured or (
            listed and self._settings.wanted("suites", row.name)
        )

    def _selection(self) -> str:
        filters = (self._settings.include.get("suites"), self._settings.exclude.get("suites"))
        patterns = tuple(each.pattern if each else None for each in filters)
        return repr((*patterns, self._settings.lookback))

    async def _poll_once(self) -> None:
        if not self._polled:
            await self.poll()

    async def _list(self, calls: PollCalls) -> dict[str, MasterRow]:
        """Read what is new in the workspaces' lists."""
        now = self._clock.now()
        lists = await calls.by_workspace(
            self._settings.workspaces, partial(self._read_list, now=now)
        )
        self._listed |= dict.fromkeys(lists, now)
        return {
            row.run_id: row
            for rows in lists.values()
            for row in rows
            if row.run_id in self._configured or self._settings.wanted("suites", row.name)
        }

    async def _read_list(self, workspace: int, *, now: Moment) -> tuple[MasterRow, ...]:
        back_to = now.unix - self._settings.lookback
        before = self._listed.get(workspace)
        if before is not None:
            back_to = max(back_to, before.unix - CLOCK_MARGIN_SECONDS)
        return await read_masters(self._client, workspace, back_to=back_to, surprise=self._surprise)

    async def _describe(self, calls: PollCalls, listed: Collection[str]) -> dict[str, MasterRow]:
        """Read the descriptions that are needed and that no list gave."""
        now = self._clock.now()
        known = self._tracked.keys() | self._done.keys()
        needed = [run_id for run_id in self._configured if run_id not in known]
        needed += [
            run_id
            for run_id, tracked in self._tracked.items()
            if tracked.is_settling(now, SETTLE_SECONDS)
            and (tracked.row.outcome in (None, Outcome.NO_VERDICT) or tracked.row.ended is None)
        ]
        asks = {
            each: partial(self._read_description, each) for each in needed if each not in listed
        }
        found = self._without_gone(calls, listed, await fan_out(asks))
        return {run_id: row for run_id, row in found.items() if row is not None}

    async def _read_description(self, run_id: str, *, seen: Seen | None = None) -> MasterRow | None:
        master = await self._client.master(run_id, seen=seen)
        return read_master(msgspec.structs.replace(master, id=run_id), self._surprise)

    def _follow(self, row: MasterRow) -> None:
        """Follow a run that is in flight or ended of late, and learn what is new of it."""
        now = self._clock.now()
        past = row.ended_before(now.unix - self._settings.run_linger)
        if row.run_id in self._tracked:
            self._tracked[row.run_id].note_row(row, now)
        elif row.run_id not in self._done and not past:
            self._tracked[row.run_id] = TrackedRun(row=row, row_read_at=now.monotonic)
        elif row.ended is not None:
            if row.run_id in self._configured:
                self._done[row.run_id] = now.monotonic
            self._suites.note(row)

    async def _ask_statuses(self, calls: PollCalls, described: Collection[str]) -> None:
        """Ask where the runs stand; those whose last call failed first, with low priority."""
        now = self._clock.now()
        due = [
            tracked
            for tracked in self._tracked.values()
            if tracked.over_since is None
            or (tracked.events is None and tracked.is_settling(now, SETTLE_SECONDS))
        ]
        due.sort(key=lambda tracked: not tracked.failed)
        outcomes = await fan_out({each.row.run_id: partial(self._ask_status, each) for each in due})
        for tracked in due:
            tracked.failed = isinstance(outcomes[tracked.row.run_id], PollError)
        self._without_gone(calls, described, outcomes)

    async def _ask_status(self, tracked: TrackedRun) -> None:
        ask = partial(
            self._client.status,
            tracked.row.run_id,
            priority=Priority.SLOW if tracked.failed else Priority.NORMAL,
        )
        if tracked.over_since is None:
            status = read_status(await ask(events=False), self._surprise)
            tracked.note_status(status, self._clock.now())
        if tracked.over_since is not None:
            events = read_events((await ask(events=True)).events, self._surprise)
            tracked.note_events(events, self._clock.now())

    def _without_gone(
        self, calls: PollCalls, described: Collection[str], outcomes: Mapping[str, A | PollError]
    ) -> dict[str, A]:
        """Drop the runs that do not exist any more, and return the good outcomes.

        It is a failure only for those that the configuration or a list names nevertheless.
        """
        kept: dict[str, A | PollError] = {}
        for run_id, outcome in outcomes.items():
            if not isinstance(outcome, NotFoundError):
                kept[run_id] = outcome
                continue
            tracked = self._tracked.pop(run_id, None)
            if tracked is not None and tracked.row.ended is not None:
                # Its list outlives it; there is nothing left to follow.
                self._suites.note(tracked.row)
                self._done[run_id] = self._clock.monotonic()
                calls.answered = True
            elif run_id in self._configured or run_id in described:
                kept[run_id] = NotFoundError(Reason.UNKNOWN_ID, str(outcome))
            else:
                calls.answered = True
        return calls.good(kept)

    def _forget_finished(self) -> None:
        """Hand over what is finished to the tests' history, and forget what is too old."""
        now = self._clock.now()
        keep = max(self._settings.run_linger, SETTLE_SECONDS)
        too_old = now.monotonic - self._settings.lookback
        for run_id, tracked in list(self._tracked.items()):
            past = tracked.row.ended_before(now.unix - keep)
            if past or not tracked.in_flight:
                self._suites.note(tracked.finished_row())
            if tracked.over_since is not None:
                past = not tracked.is_settling(now, keep)
            if past or tracked.read_at < too_old:
                self._done[run_id] = now.monotonic
                del self._tracked[run_id]
        self._done = {
            run_id: at
            for run_id, at in self._done.items()
            if at >= too_old or run_id in self._configured
        }
        self._suites.forget_before(now.unix - self._settings.lookback)

    def _read_runs(self) -> Iterator[Run]:
        now = self._clock.now()
        for tracked in self._tracked.values():
            if tracked.status is None or tracked.status_read_at is None:
                continue
            if tracked.over_since is None:
                shown = tracked.status_read_at >= now.monotonic - self._stale_after
            else:
                shown = tracked.is_settling(now, self._settings.run_linger)
            if shown:
                row = tracked.finished_row()
                yield read_run(row, tracked.status, tracked.events, self._location_names)

    def _read_suites(self) -> tuple[Suite, ...]:
        not_before = self._clock.monotonic() - self._stale_after
        return self._suites.suites(
            (
                tracked.row
                for tracked in self._tracked.values()
                if tracked.in_flight and tracked.read_at >= not_before
            ),
            readable={each: at.monotonic >= not_before for each, at in self._listed.items()},
        )


def _without_free_text(reply: Any) -> Any:
    """Hide the messages of events that are not understood: they can hold signed links."""
    events = part_of(reply, "result", "events")
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict) and not is_understood(str(event.get("message"))):
            event["message"] = NOT_SHOWN
    return reply
