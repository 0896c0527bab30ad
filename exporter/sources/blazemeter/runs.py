"""Runs: as lists describe them, as they are tracked, and as the history of their test ("suite").

Lists are read newest first and only as far as something can be new, so the finished runs of
earlier polls are kept here, the newest few of each test.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from exporter.fleet.readings import Outcome, Run, Suite, SuiteRun
from exporter.sources.blazemeter.client import PAGE, BlazeMeterClient
from exporter.sources.blazemeter.replies import Epoch, Master, epoch
from exporter.sources.blazemeter.status import RunEvents, RunStatus
from exporter.sources.decode import Surprised, finite, text


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from exporter.clock import Moment


#: So many pages are read at most in one poll of a workspace: 1,000 runs.
PAGES = 20

#: So many finished runs are kept of a test.
HISTORY = 10

# By `reportStatus`. ENDED alone is no verdict, and `unset` is none either: such a run had no
# failure criteria.
_OUTCOMES: dict[str, Outcome] = {
    "pass": Outcome.PASSED,
    "fail": Outcome.FAILED,
    "error": Outcome.ERROR,
    "abort": Outcome.ABORTED,
    "noData": Outcome.NO_DATA,
    "unset": Outcome.NO_VERDICT,
}

# An id becomes a part of a path: nothing but the number it has to be may pass.
_MASTER_ID = re.compile(r"[0-9]{1,20}")


class MasterRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run as a list describes it; the bounds hold where it is read from a memory.

    Attributes:
        workspace: The one whose list named it; 0 while none did.
        suite_id: The test it is a run of; empty when the vendor named none.
        created, ended: Epoch seconds; `ended` is `None` while it is in flight.
        outcome: What it was, so far; only of worth after the end.
        locations: Where it runs, by the vendor's ids.
    """

    run_id: Annotated[str, msgspec.Meta(pattern=rf"\A{_MASTER_ID.pattern}\Z")]
    name: str
    workspace: int = 0
    suite_id: str = ""
    created: Epoch | None = None
    ended: Epoch | None = None
    outcome: Outcome | None = None
    max_users: float | None = None
    locations: tuple[str, ...] = ()

    def ended_before(self, unix: float) -> bool:
        """Return whether it ended before a time."""
        return self.ended is not None and self.ended < unix

    def as_finished(self) -> SuiteRun:
        """Return it as a finished run of its suite."""
        duration = None
        if self.created is not None and self.ended is not None and self.ended >= self.created:
            duration = self.ended - self.created
        return SuiteRun(
            run_id=self.run_id,
            outcome=self.outcome,
            max_users=self.max_users,
            start_timestamp_seconds=self.created,
            end_timestamp_seconds=self.ended,
            duration_seconds=duration,
        )

    def as_current(self) -> SuiteRun:
        """Return it as a run of its suite that is in flight, without a verdict yet."""
        return SuiteRun(run_id=self.run_id, start_timestamp_seconds=self.created)


class TrackedRun(msgspec.Struct, kw_only=True):
    """A run that is followed from poll to poll.

    Attributes:
        row: Its newest description.
        row_read_at: When that was read, monotonic seconds.
        status, status_read_at: Where it stood when that was last read, and when.
        over_since: Monotonic seconds since when it is over; `None` while it is in flight.
        events: What its events say, once they were read.
        failed: Whether the newest call about it did.
    """

    row: MasterRow
    row_read_at: float
    status: RunStatus | None = None
    status_read_at: float | None = None
    over_since: float | None = None
    events: RunEvents | None = None
    failed: bool = False

    @property
    def in_flight(self) -> bool:
        """Return whether it goes on, by its status or by its list, whichever is newer."""
        by_status = self.status_read_at is not None and self.status_read_at >= self.row_read_at
        return self.over_since is None and (self.row.ended is None or by_status)

    @property
    def read_at(self) -> float:
        """Return when something was last read about it, monotonic seconds."""
        if self.status_read_at is None:
            return self.row_read_at
        return max(self.row_read_at, self.status_read_at)

    def is_settling(self, now: Moment, seconds: float) -> bool:
        """Return whether it is over, and not for longer than so many seconds."""
        return self.over_since is not None and now.monotonic - self.over_since <= seconds

    def note_row(self, row: MasterRow, now: Moment) -> None:
        """Take in its newest description, which may come from elsewhere than its list."""
        workspace = row.workspace or self.row.workspace
        self.row = msgspec.structs.replace(row, workspace=workspace)
        self.row_read_at = now.monotonic

    def note_status(self, status: RunStatus, now: Moment) -> None:
        """Take in where it stands now."""
        self.status, self.status_read_at = status, now.monotonic
        if status.over:
            self._end(now)

    def note_events(self, events: RunEvents, now: Moment) -> None:
        """Take in what its events say, which may include its end."""
        self.events = events
        self._end(now)

    def with_times(self, converted: Callable[[float], float]) -> TrackedRun:
        """Return it with its monotonic times on another clock."""
        read_at, over_since = self.status_read_at, self.over_since
        return msgspec.structs.replace(
            self,
            row_read_at=converted(self.row_read_at),
            status_read_at=None if read_at is None else converted(read_at),
            over_since=None if over_since is None else converted(over_since),
        )

    def finished_row(self) -> MasterRow:
        """Return its description, with the end from the events where the list has none yet."""
        if self.row.ended is None and self.events is not None and self.events.ended is not None:
            return msgspec.structs.replace(self.row, ended=self.events.ended)
        return self.row

    def _end(self, now: Moment) -> None:
        """Note that it is over, since its own end if that is known and else since now."""
        ended = self.finished_row().ended
        age = 0.0 if ended is None else max(0.0, now.unix - ended)
        self.over_since = now.monotonic - age


async def read_masters(
    client: BlazeMeterClient, workspace: int, *, back_to: float, surprise: Surprised
) -> tuple[MasterRow, ...]:
    """Read the runs of a workspace, the newest changed first and no farther than needed.

    The list has no filter for runs in flight, and its `total` can be "n/a". Reading ends with a
    short page, with a page whose runs had all ended by then, or after `PAGES` pages.

    Args:
        client: Sends the calls.
        workspace: The id of the workspace.
        back_to: Epoch seconds; nothing that ended before is news.
        surprise: Called for each value that did not fit.

    Raises:
        PollError: A page could not be read.
    """
    rows: dict[str, MasterRow] = {}
    skip = 0
    for _ in range(PAGES):
        reply = await client.masters({"workspaceId": workspace}, skip=skip)
        masters = reply.result or ()
        page = read_page(masters, surprise, workspace=workspace)
        for row in page:
            # Runs move down while new ones come in: on the next page is the older description.
            rows.setdefault(row.run_id, row)
        skip += len(masters)
        limit = reply.limit  # the vendor may give fewer than were asked for
        full = limit if limit is not None and 1 <= limit < PAGE else PAGE
        if len(masters) < full or all(row.ended_before(back_to) for row in page):
            break
    return tuple(rows.values())


def read_page(
    masters: Iterable[Master], surprise: Surprised, *, workspace: int = 0
) -> list[MasterRow]:
    """Read the runs of a list, without those that have no id that can be asked for."""
    rows = (read_master(master, surprise, workspace=workspace) for master in masters)
    return [row for row in rows if row is not None]


def read_master(master: Master, surprise: Surprised, *, workspace: int = 0) -> MasterRow | None:
    """Read a run; `None` for one without an id that can be asked for."""
    run_id = text(master.id)
    if _MASTER_ID.fullmatch(run_id) is None:
        surprise("missing_field" if master.id is None else "type")
        return None
    verdict, max_users = master.report_status, finite(master.max_users)
    if verdict is not None and verdict not in _OUTCOMES:
        surprise("enum")
    return MasterRow(
        run_id=run_id,
        name=master.name or run_id,
        workspace=workspace,
        suite_id=text(master.test_id),
        created=epoch(master.created, surprise),
        ended=epoch(master.ended, surprise),
        outcome=_OUTCOMES.get(verdict or "unset", Outcome.NO_VERDICT),
        max_users=max_users if max_users is not None and max_users >= 0 else None,
        locations=master.locations or (),
    )


def read_run(
    row: MasterRow, status: RunStatus, events: RunEvents | None, names: Mapping[str, str]
) -> Run:
    """Put a run together.

    Args:
        row: Its description, as `TrackedRun.finished_row` gives it.
        status: Where it stands.
        events: What its events say, if it is over and they were read.
        names: Of private locations by the id that runs use, so that a run's location reads like
            its agents'.
    """
    events = events or RunEvents()
    locations = sorted({names.get(each, each) for each in row.locations or status.locations})
    return Run(
        run_id=row.run_id,
        run=row.name,
        phase=status.phase,
        suite_id=row.suite_id,
        location=",".join(locations),
        progress_code=status.code,
        engines=status.engines,
        engines_ratio=status.engines_ratio,
        data_available=status.data_available,
        start_timestamp_seconds=row.created,
        end_timestamp_seconds=row.ended if status.over else None,
        phase_durations=events.phase_durations,
        events=events.levels,
        exit_code=events.exit_code,
        outcome=row.outcome if status.over else None,
    )


class SuiteHistory:
    """The finished runs by test."""

    def __init__(self) -> None:
        self._finished: dict[str, dict[str, MasterRow]] = {}

    def note(self, row: MasterRow) -> None:
        """Take a finished run in, or what is newer about it."""
        if not row.suite_id:
            return
        finished = self._finished.setdefault(row.suite_id, {})
        finished[row.run_id] = row
        if len(finished) > HISTORY:
            del finished[min(finished.values(), key=_by_start).run_id]

    def rows(self) -> Iterator[MasterRow]:
        """Yield the finished runs of all tests."""
        for finished in self._finished.values():
            yield from finished.values()

    def forget_before(self, unix: float) -> None:
        """Drop the runs that ended before a time, and the tests that have no run left."""
        for suite_id, finished in list(self._finished.items()):
            for run_id, row in list(finished.items()):
                if (row.ended or row.created or unix) < unix:
                    del finished[run_id]
            if not finished:
                del self._finished[suite_id]

    def suites(
        self, current: Iterable[MasterRow], *, readable: Mapping[int, bool]
    ) -> tuple[Suite, ...]:
        """Return all tests that have a finished run or one in flight.

        Args:
            current: The runs in flight.
            readable: By workspace, whether its list was read of late; the tests of one that
                was not are left out, since newer runs of theirs may be missing.
        """
        running: dict[str, list[MasterRow]] = {}
        for row in current:
            if row.suite_id:
                running.setdefault(row.suite_id, []).append(row)
        known = {
            suite_id: finished
            for suite_id, finished in self._finished.items()
            if readable.get(max(row.workspace for row in finished.values()), True)
        }
        return tuple(
            read_suite(suite_id, known.get(suite_id, {}).values(), running.get(suite_id, ()))
            for suite_id in sorted(known.keys() | running.keys())
        )


def read_suite(suite_id: str, finished: Iterable[MasterRow], current: Iterable[MasterRow]) -> Suite:
    """Return a test; there must be a run.

    Its name is its newest run's: lists do not give the test's own.
    """
    done = sorted(finished, key=_by_start, reverse=True)[:HISTORY]
    flying = sorted(current, key=_by_start, reverse=True)
    history = tuple(row.as_finished() for row in done)
    return Suite(
        suite_id=suite_id,
        suite=max((*flying[:1], *done[:1]), key=_by_start).name,
        running=bool(flying),
        last_run=history[0] if history else None,
        current_run=flying[0].as_current() if flying else None,
        history=history,
    )


def _by_start(row: MasterRow) -> tuple[float, int]:
    """Order by start; ids grow, which decides where a start is missing or shared."""
    return row.created or 0.0, int(row.run_id)
