"""The task `runs`: finds runs, follows those in flight, and keeps the history of their suites.

A poll reads the lists of the workspaces, the descriptions of runs that no list has, the unknown
names of suites, and the status of each run in flight. A run seen in flight is followed until it is
over, even if no list shows it any more. The calls for results of finished runs are spread over
several polls.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Outcome
from exporter.lockout.queue import Priority
from exporter.sources.base import Poll
from exporter.sources.blazemeter.calls import PollCalls, fan_out, short_list
from exporter.sources.blazemeter.client import BlazeMeterClient, NotFoundError, Seen
from exporter.sources.blazemeter.masters import MasterRow, read_master, read_masters
from exporter.sources.blazemeter.memory import RunsMemory, newest
from exporter.sources.blazemeter.multitests import MultiTests
from exporter.sources.blazemeter.names import SuiteNames
from exporter.sources.blazemeter.results import ResultBook, read_ci_errors
from exporter.sources.blazemeter.runs import TrackedRun, read_run
from exporter.sources.blazemeter.selection import Selection
from exporter.sources.blazemeter.status import read_events, read_status
from exporter.sources.blazemeter.suites import SuiteHistory
from exporter.sources.memory import moment_of, remembered, unix_of


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from exporter.clock import Moment
    from exporter.fleet.readings import Run, Suite
    from exporter.sources.blazemeter.pages import Pages
    from exporter.sources.blazemeter.results import Results


A = TypeVar("A")

TASK = "runs"

#: The time after its end during which a run's verdict and events are still read, because the
#: verdict can come after the end and the call for the events can fail.
SETTLE_SECONDS = 600.0

#: The largest lag of the vendor's clock behind the exporter's at which no run is missed.
CLOCK_MARGIN_SECONDS = 600.0


class RunTracker:
    """Follows the runs of one source from poll to poll."""

    def __init__(self, client: BlazeMeterClient, *, location_names: Mapping[str, str]) -> None:
        """Restore the memory, if there is one.

        Args:
            client: Sends the calls.
            location_names: The names of private locations by the id that runs use; the task
                `agents` keeps them up to date.
        """
        self._settings = client.settings
        self._client = client
        self._clock = client.context.clock
        self._surprise = client.surprise
        self._location_names = location_names
        self._stale_after = client.settings.stale_after_for(TASK)
        self._configured = dict.fromkeys(str(run_id) for run_id in client.settings.masters)
        self._tracked: dict[str, TrackedRun] = {}
        # Runs that must not be followed again, with the time of that decision.
        self._done: dict[str, float] = {}
        # Runs of suites that a filter may exclude and whose names are not known yet.
        self._held: dict[str, MasterRow] = {}
        self._suites = SuiteHistory()
        self._polled = False
        self._listed: dict[int, Moment] = {}  # start of the newest successful listing, by workspace
        memory = remembered(client, TASK, RunsMemory)
        self._names = SuiteNames(client, {} if memory is None else memory.names)
        self._selection = Selection(client.settings, self._names, self._configured)
        self._book = ResultBook(client, {} if memory is None else memory.results)
        if memory is not None:
            self._recall(memory)
        known = (*self._suites.rows(), *(tracked.row for tracked in self._tracked.values()))
        self._multi_tests = MultiTests(client, self._names, known)

    async def poll(self) -> Poll:
        """Read all runs.

        Returns:
            The readings of all wanted runs and suites, and the calls that failed.

        Raises:
            PollError: No call was answered.
        """
        calls = PollCalls()
        self._polled = True
        now = self._clock.now()
        described = await self._list(calls, now)
        described |= await self._describe(calls, described)
        described = await self._identify(calls, self._held | described)
        self._held = {}
        for row in described.values():
            self._follow(row)
        asked = await self._ask_statuses(calls, described)
        calls.check()
        self._forget_finished()
        await read_ci_errors(self._client, calls, self._tracked.values())
        newest = self._suites.newest()
        await self._book.read(
            calls, (row for row in newest if self._selection.wants_suite(row.suite_id))
        )
        return Poll(
            readings=(*self._read_runs(), *self._read_suites()),
            failures=tuple(calls.failures),
            memory=msgspec.json.encode(self._memory()),
            asked=asked and (now in self._listed.values() or not self._settings.workspaces),
        )

    @property
    def results(self) -> Mapping[str, Results]:
        """The results of finished runs, by the run's id."""
        return self._book.known

    async def knows_run(self, run_id: str) -> bool:
        """Return whether a run is configured, in flight or recently ended."""
        if run_id in self._configured:
            return True
        await self._poll_once()
        return run_id in self._tracked and self._selection.shows(self._tracked[run_id].row)

    async def known_suite(self, suite_id: str) -> Suite | None:
        """Return the reading of a suite, or `None` if there is no such suite."""
        await self._poll_once()
        return next((each for each in self._read_suites() if each.suite_id == suite_id), None)

    async def read_description(self, run_id: str, *, seen: Seen | None = None) -> MasterRow | None:
        """Return the description of a run, read now, or `None` if it is invalid."""
        master = await self._client.master(run_id, seen=seen)
        row = read_master(msgspec.structs.replace(master, id=run_id), self._surprise)
        return None if row is None else self._multi_tests.identified(row)

    def _recall(self, memory: RunsMemory) -> None:
        """Restore the parts of the memory that belong to configured runs and workspaces."""
        now = self._clock.now()
        for tracked in filter(lambda tracked: self._asked_for(tracked.row), memory.followed):
            run = tracked.with_times(lambda unix: moment_of(unix, now).monotonic)
            self._tracked[run.row.run_id] = run
        self._done = {each: moment_of(at, now).monotonic for each, at in memory.done.items()}
        for row in filter(self._asked_for, memory.finished):
            self._suites.note(row)
        self._held = {row.run_id: row for row in filter(self._asked_for, memory.held)}
        if memory.selection != self._selection.key:
            # The filters changed: read all lists anew, and the configured runs too.
            self._done = {
                each: at for each, at in self._done.items() if each not in self._configured
            }
            return
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
            selection=self._selection.key,
            names=self._names.known,
            results=self._book.known,
            held=newest(self._held.values(), lambda row: row.ended or row.created or 0.0),
        )

    def _asked_for(self, row: MasterRow) -> bool:
        return row.run_id in self._configured or row.workspace in self._settings.workspaces

    async def _poll_once(self) -> None:
        if not self._polled:
            await self.poll()

    async def _list(self, calls: PollCalls, now: Moment) -> dict[str, MasterRow]:
        """Read the new part of the workspaces' lists."""
        lists = await calls.by_workspace(
            self._settings.workspaces, partial(self._read_list, now=now)
        )
        for workspace, pages in lists.items():
            self._listed[workspace] = now
            if pages.short:
                self._surprise("incomplete_list")
                calls.failures.append(short_list(workspace, "masters", cuts_list=True))
        return {row.run_id: row for pages in lists.values() for row in pages.items}

    async def _read_list(self, workspace: int, *, now: Moment) -> Pages[MasterRow]:
        back_to = now.unix - self._settings.lookback
        before = self._listed.get(workspace)
        if before is not None:
            back_to = max(back_to, before.unix - CLOCK_MARGIN_SECONDS)
        return await read_masters(self._client, workspace, back_to=back_to, surprise=self._surprise)

    async def _describe(self, calls: PollCalls, listed: Collection[str]) -> dict[str, MasterRow]:
        """Read the needed descriptions that no list has.

        If a finished run has no verdict in the list, its own description is read once.
        """
        now = self._clock.now()
        known = self._tracked.keys() | self._done.keys()
        needed = [run_id for run_id in self._configured if run_id not in known]
        unjudged = {
            run_id: tracked
            for run_id, tracked in self._tracked.items()
            if tracked.is_settling(now, SETTLE_SECONDS)
            and (tracked.row.outcome in (None, Outcome.NO_VERDICT) or tracked.row.ended is None)
        }
        needed += unjudged
        asks = {each: partial(self.read_description, each) for each in needed if each not in listed}
        found = self._without_gone(calls, listed, await fan_out(asks))
        for run_id, tracked in unjudged.items():
            if run_id in listed and not tracked.described:
                tracked.described = True
                outcomes = await fan_out({run_id: partial(self.read_description, run_id)})
                found |= calls.good_if_any(self._client, outcomes)
        return {run_id: row for run_id, row in found.items() if row is not None}

    async def _identify(
        self, calls: PollCalls, described: Mapping[str, MasterRow]
    ) -> dict[str, MasterRow]:
        """Find the suites of runs and the suites' names, and return the runs.

        The result can contain further runs of the same multi-tests.
        """
        rows = {each: self._multi_tests.identified(row) for each, row in described.items()}
        if not calls.failures or calls.answered:
            followed = [tracked.row for tracked in self._tracked.values() if tracked.in_flight]
            for row in await self._multi_tests.search(calls, (*rows.values(), *followed)):
                rows[row.run_id] = row
            await self._names.read(calls, self._suite_ids((*followed, *rows.values())))
        return rows

    def _suite_ids(self, rows: Iterable[MasterRow]) -> Iterator[str]:
        """Yield the suites of some runs, runs in flight first, then all suites with a history."""
        not_before = self._clock.time() - self._settings.lookback
        recent = [row for row in rows if not row.ended_before(not_before)]
        recent.sort(key=lambda row: row.ended is not None)
        for row in (*recent, *self._suites.rows()):
            if row.suite_id:
                yield row.suite_id

    def _follow(self, row: MasterRow) -> None:
        """Follow a run that is in flight or recently ended, or record its newer description."""
        now = self._clock.now()
        past = row.ended_before(now.unix - self._settings.run_linger)
        if row.run_id in self._tracked:
            self._tracked[row.run_id].note_row(row, now)
        elif row.run_id not in self._done and not past and self._selection.follows(row):
            tracked = TrackedRun(row=row.before_its_end(), row_read_at=now.monotonic)
            self._tracked[row.run_id] = tracked
        elif row.run_id not in self._done and not past and self._selection.waits_for_name(row):
            self._held[row.run_id] = row
        elif row.ended is not None:
            if row.run_id in self._configured:
                self._done[row.run_id] = now.monotonic
            self._suites.note(row)

    async def _ask_statuses(self, calls: PollCalls, described: Collection[str]) -> bool:
        """Read the status of the runs; runs whose last call failed go first, with low priority.

        Returns:
            False if there were calls and all of them failed.
        """
        now = self._clock.now()
        due = [
            tracked
            for tracked in self._tracked.values()
            if self._selection.follows(tracked.row)
            and (
                tracked.over_since is None
                or (tracked.events is None and tracked.is_settling(now, SETTLE_SECONDS))
            )
        ]
        due.sort(key=lambda tracked: not tracked.failed)
        outcomes = await fan_out({each.row.run_id: partial(self._ask_status, each) for each in due})
        for tracked in due:
            tracked.failed = isinstance(outcomes[tracked.row.run_id], PollError)
        self._without_gone(calls, described, outcomes)
        lacking = map(self._client.lacks, outcomes.values())
        return not due or any(lacking) or not all(tracked.failed for tracked in due)

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
        """Drop the runs that do not exist any more, and return the answers by run.

        A missing run is a failure only if the configuration or a list names it.
        """
        kept: dict[str, A | PollError] = {}
        for run_id, outcome in outcomes.items():
            if not isinstance(outcome, NotFoundError):
                kept[run_id] = outcome
                continue
            tracked = self._tracked.pop(run_id, None)
            if tracked is not None and tracked.row.ended is not None:
                # The run has ended, and lists can name a run after it was deleted.
                self._suites.note(tracked.row)
                self._done[run_id] = self._clock.monotonic()
                calls.answered = True
            elif run_id in self._configured or run_id in described:
                kept[run_id] = NotFoundError(Reason.UNKNOWN_ID, str(outcome))
            else:
                calls.answered = True
        return calls.good(kept)

    def _forget_finished(self) -> None:
        """Move finished runs to the history of their suites, and forget old runs."""
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
        self._book.keep({row.run_id for row in self._suites.rows()})

    def _read_runs(self) -> Iterator[Run]:
        now = self._clock.now()
        for tracked in self._tracked.values():
            if tracked.status is None or tracked.status_read_at is None:
                continue
            if tracked.over_since is None:
                shown = tracked.status_read_at >= now.monotonic - self._stale_after
            else:
                shown = tracked.is_settling(now, self._settings.run_linger)
            if shown and self._selection.shows(tracked.row):
                yield read_run(
                    tracked.finished_row(),
                    tracked.status,
                    tracked.events,
                    self._location_names,
                    ci_errors=tracked.ci_errors,
                )

    def _read_suites(self) -> tuple[Suite, ...]:
        not_before = self._clock.monotonic() - self._stale_after
        return self._suites.suites(
            (
                tracked.row
                for tracked in self._tracked.values()
                if tracked.in_flight and tracked.read_at >= not_before
            ),
            readable={each: at.monotonic >= not_before for each, at in self._listed.items()},
            name_of=self._shown_name,
            results=self._book.known,
        )

    def _shown_name(self, suite_id: str) -> str | None:
        return self._names.of(suite_id) if self._selection.wants_suite(suite_id) else None
