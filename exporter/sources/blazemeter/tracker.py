"""The task `runs`: finds runs, follows those in flight, and keeps what tests are known by.

A poll lists the workspaces, reads the descriptions that no list gave, and asks the runs in flight
where they stand. A run that was once seen in flight is followed until it is over, even when the
lists do not show it any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from exporter.errors import PollError, Reason
from exporter.lockout.queue import Priority
from exporter.sources.base import Poll
from exporter.sources.blazemeter.client import NotFoundError
from exporter.sources.blazemeter.cycle import Cycle
from exporter.sources.blazemeter.explain import explain_run, explain_suite
from exporter.sources.blazemeter.listing import read_masters
from exporter.sources.blazemeter.masters import read_master
from exporter.sources.blazemeter.runs import Watch, read_run, read_status, read_tail
from exporter.sources.blazemeter.suites import SuiteBook
from exporter.sources.calls import fan_out


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

    from exporter.clock import Clock, Moment
    from exporter.fleet.readings import Run, Suite
    from exporter.sources.base import Explanation
    from exporter.sources.blazemeter.client import BlazeMeterClient
    from exporter.sources.blazemeter.masters import MasterRow
    from exporter.sources.blazemeter.settings import BlazeMeterSettings
    from exporter.sources.decode import Surprised


A = TypeVar("A")

TASK = "runs"

#: The verdict can come after the end (reference section B8.5), and reading the events may take a
#: second try: for so long after its end a run is asked about again.
SETTLE_SECONDS = 600.0

#: The vendor's clock may be behind ours by so much without a run being missed.
CLOCK_MARGIN_SECONDS = 600.0


class RunTracker:
    """Follows the runs of one source from poll to poll."""

    def __init__(
        self,
        settings: BlazeMeterSettings,
        client: BlazeMeterClient,
        *,
        clock: Clock,
        surprise: Surprised,
        location_names: Mapping[str, str],
    ) -> None:
        """Start without knowing any run; `location_names` may change while this lives."""
        self._settings = settings
        self._client = client
        self._clock = clock
        self._surprise = surprise
        self._location_names = location_names
        self._stale_after = settings.stale_after_for(TASK)
        self._configured = {str(run_id): 0 for run_id in settings.masters}
        self._watches: dict[str, Watch] = {}
        # Runs that are not to be followed again, with the time of that decision.
        self._done: dict[str, float] = {}
        self._suites = SuiteBook()
        self._polled = False
        self._listed: dict[int, Moment] = {}  # by workspace: when its newest good listing began

    async def poll(self) -> Poll:
        """Read all runs.

        Raises:
            PollError: Not one call was answered.
        """
        cycle = Cycle(self._client)
        self._polled = True
        told = await self._list(cycle)
        told |= await self._describe(cycle, told)
        for row, workspace in told.values():
            self._take(row, workspace)
        await self._look(cycle, told)
        cycle.check()
        self._clear()
        return Poll(
            readings=(*self._read_runs(), *self._read_suites()), failures=tuple(cycle.failures)
        )

    async def explain_run(self, run_id: str) -> Explanation:
        """Look at one run now.

        Raises:
            LookupError: It is neither configured, nor in flight, nor just ended.
            PollError: The look failed.
        """
        if run_id not in self._configured and run_id not in await self._inventory():
            raise LookupError(f"runs: there is no {run_id!r}")
        return await explain_run(self._client, run_id, self._location_names, self._surprise)

    async def explain_suite(self, suite_id: str) -> Explanation:
        """Look at one test's newest runs now.

        Raises:
            LookupError: There is no such test, or it had no run of late.
            PollError: The look failed.
        """
        await self._inventory()
        if all(suite.suite_id != suite_id for suite in self._read_suites()):
            raise LookupError(f"suites: there is no {suite_id!r}")
        return await explain_suite(self._client, suite_id, self._surprise)

    async def _inventory(self) -> Collection[str]:
        if not self._polled:
            await self.poll()
        return self._watches.keys()

    async def _list(self, cycle: Cycle) -> dict[str, tuple[MasterRow, int]]:
        """Read what is new in the workspaces' lists: the first alone, then the others."""
        now = self._clock.now()
        told: dict[str, tuple[MasterRow, int]] = {}
        for workspaces in (self._settings.workspaces[:1], self._settings.workspaces[1:]):
            asks = {str(each): self._listing(each, now) for each in workspaces}
            for target, rows in cycle.good(await fan_out(asks)).items():
                self._listed[int(target)] = now
                told |= {row.run_id: (row, int(target)) for row in rows if self._wanted(row)}
        return told

    def _listing(
        self, workspace: int, now: Moment
    ) -> Callable[[], Awaitable[tuple[MasterRow, ...]]]:
        back_to = now.unix - self._settings.lookback
        before = self._listed.get(workspace)
        if before is not None:
            back_to = max(back_to, before.unix - CLOCK_MARGIN_SECONDS)
        return lambda: read_masters(
            self._client, workspace, back_to=back_to, surprise=self._surprise
        )

    async def _describe(
        self, cycle: Cycle, told: Collection[str]
    ) -> dict[str, tuple[MasterRow, int]]:
        """Read the descriptions that are needed and that no list gave."""
        now = self._clock.now()
        needed = {
            run_id: workspace
            for run_id, workspace in self._configured.items()
            if run_id not in self._watches and run_id not in self._done
        }
        for watch in self._watches.values():
            if watch.is_settling(now, SETTLE_SECONDS) and watch.lacks_verdict:
                needed[watch.run_id] = watch.workspace
        asks = {run_id: self._description(run_id) for run_id in needed if run_id not in told}
        found = self._without_gone(cycle, told, await fan_out(asks))
        return {run_id: (row, needed[run_id]) for run_id, row in found.items() if row is not None}

    def _description(self, run_id: str) -> Callable[[], Awaitable[MasterRow | None]]:
        async def ask() -> MasterRow | None:
            master = await self._client.master(run_id)
            return read_master(msgspec.structs.replace(master, id=run_id), self._surprise)

        return ask

    def _take(self, row: MasterRow, workspace: int) -> None:
        """Follow a run that is in flight or ended of late, and learn what is new of it."""
        now = self._clock.now()
        watch = self._watches.get(row.run_id)
        if watch is not None:
            watch.row, watch.row_read_at = row, now.monotonic
            watch.workspace = workspace or watch.workspace
        elif row.run_id not in self._done and not _ended_before(
            row, now.unix - self._settings.run_linger
        ):
            self._watches[row.run_id] = Watch(
                row=row, workspace=workspace, row_read_at=now.monotonic
            )
        elif row.ended is not None:
            if row.run_id in self._configured:
                self._done[row.run_id] = now.monotonic
            self._suites.note(row, workspace=workspace)

    async def _look(self, cycle: Cycle, told: Collection[str]) -> None:
        """Ask where the runs stand; those whose last call failed first, with low priority."""
        now = self._clock.now()
        due = [
            watch
            for watch in self._watches.values()
            if watch.over_since is None
            or (watch.tail is None and watch.is_settling(now, SETTLE_SECONDS))
        ]
        due.sort(key=lambda watch: not watch.failed)
        outcomes = await fan_out({watch.run_id: self._looking(watch) for watch in due})
        for watch in due:
            watch.failed = isinstance(outcomes[watch.run_id], PollError)
        self._without_gone(cycle, told, outcomes)

    def _looking(self, watch: Watch) -> Callable[[], Awaitable[None]]:
        priority = Priority.SLOW if watch.failed else Priority.NORMAL

        async def ask() -> None:
            if watch.over_since is None:
                status = await self._client.status(watch.run_id, events=False, priority=priority)
                watch.note(read_status(status, self._surprise), self._clock.now())
            if watch.over_since is not None:
                status = await self._client.status(watch.run_id, events=True, priority=priority)
                watch.tail = read_tail(status, self._surprise)
                watch.end(self._clock.now())

        return ask

    def _without_gone(
        self, cycle: Cycle, told: Collection[str], outcomes: Mapping[str, A | PollError]
    ) -> dict[str, A]:
        """Drop the runs that do not exist any more, and return the good outcomes.

        It is a failure only for those that the configuration or a list names nevertheless.
        """
        kept: dict[str, A | PollError] = {}
        for run_id, outcome in outcomes.items():
            if not isinstance(outcome, NotFoundError):
                kept[run_id] = outcome
                continue
            watch = self._watches.pop(run_id, None)
            if watch is not None and watch.row.ended is not None:
                # Its list outlives it; there is nothing left to follow.
                self._suites.note(watch.row, workspace=watch.workspace)
                self._done[run_id] = self._clock.monotonic()
                cycle.gone()
            elif run_id in self._configured or run_id in told:
                kept[run_id] = NotFoundError(Reason.UNKNOWN_ID, str(outcome))
            else:
                cycle.gone()
        return cycle.good(kept)

    def _clear(self) -> None:
        """Hand over what is finished to the tests' history, and forget what is too old."""
        now = self._clock.now()
        keep = max(self._settings.run_linger, SETTLE_SECONDS)
        too_old = now.monotonic - self._settings.lookback
        for watch in list(self._watches.values()):
            past = _ended_before(watch.row, now.unix - keep)
            if past or not watch.in_flight:
                self._suites.note(watch.finished_row(), workspace=watch.workspace)
            if watch.over_since is not None:
                past = not watch.is_settling(now, keep)
            if past or watch.heard_of < too_old:
                self._done[watch.run_id] = now.monotonic
                del self._watches[watch.run_id]
        self._done = {
            run_id: at
            for run_id, at in self._done.items()
            if at >= too_old or run_id in self._configured
        }
        self._suites.forget_before(now.unix - self._settings.lookback)

    def _read_runs(self) -> Iterator[Run]:
        now = self._clock.now()
        for watch in self._watches.values():
            if watch.status is None or watch.status_read_at is None:
                continue
            if watch.over_since is None:
                shown = watch.status_read_at >= now.monotonic - self._stale_after
            else:
                shown = watch.is_settling(now, self._settings.run_linger)
            if shown:
                yield read_run(watch.finished_row(), watch.status, watch.tail, self._location_names)

    def _read_suites(self) -> tuple[Suite, ...]:
        not_before = self._clock.monotonic() - self._stale_after
        return self._suites.suites(
            (
                watch.row
                for watch in self._watches.values()
                if watch.in_flight and watch.heard_of >= not_before
            ),
            readable={each: at.monotonic >= not_before for each, at in self._listed.items()},
        )

    def _wanted(self, row: MasterRow) -> bool:
        return row.run_id in self._configured or self._settings.wanted("suites", row.name)


def _ended_before(row: MasterRow, unix: float) -> bool:
    return row.ended is not None and row.ended < unix
