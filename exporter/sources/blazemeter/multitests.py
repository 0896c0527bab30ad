"""The multi-tests of runs whose descriptions name no test.

No public source says how a run names its multi-test. The way that is documented is the other
direction: the multi-tests of a workspace, and the runs of each. That takes a call per multi-test,
so it is done only while there is such a run, and a few calls at a time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from exporter.sources.blazemeter.calls import PollCalls, fan_out, short_list
from exporter.sources.blazemeter.masters import MasterRow, read_page, suite_id_of
from exporter.sources.blazemeter.pages import read_pages
from exporter.sources.decode import finite, text


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.sources.blazemeter.client import BlazeMeterClient
    from exporter.sources.blazemeter.names import SuiteNames


#: So often the multi-tests of a workspace are listed at most.
LIST_SECONDS = 3600.0

#: So many pages of them are read at most, and so many are asked for their runs in one poll.
PAGES = 20
ASKED_PER_POLL = 5

#: For so many runs it is remembered whose they are, or that this was looked for.
MOST = 10_000


class Search(msgspec.Struct, kw_only=True):
    """The search for the multi-tests of one workspace's runs.

    Attributes:
        multi_tests: The ids of its multi-tests, the one that ran last first.
        listed_at: Monotonic seconds when these were listed.
        queue: Those that are still to be asked for their runs.
        missing: The runs whose multi-test is looked for.
    """

    multi_tests: tuple[str, ...] = ()
    listed_at: float | None = None
    queue: list[str] = msgspec.field(default_factory=list)
    missing: set[str] = msgspec.field(default_factory=set)


class MultiTests:
    """Finds out which multi-test a run belongs to."""

    def __init__(
        self, client: BlazeMeterClient, names: SuiteNames, known: Iterable[MasterRow]
    ) -> None:
        """Go on with runs whose suite is known; `names` learns the names that are listed."""
        self._client = client
        self._clock = client.context.clock
        self._names = names
        self._owners = {row.run_id: row.suite_id for row in known if row.suite_id}
        self._sought: dict[str, None] = {}
        self._searches: dict[int, Search] = {}

    def identified(self, row: MasterRow) -> MasterRow:
        """Return a run with its suite, as far as that was found."""
        if row.suite_id:
            return row
        return msgspec.structs.replace(row, suite_id=self._owners.get(row.run_id, ""))

    async def search(self, calls: PollCalls, rows: Iterable[MasterRow]) -> list[MasterRow]:
        """Look for the suites of some runs, and return runs whose suite is known now.

        These are more than were asked for: what the vendor lists as a multi-test's runs.
        """
        unknown: dict[int, set[str]] = {}
        for row in rows:
            if not row.suite_id and row.workspace:
                unknown.setdefault(row.workspace, set()).add(row.run_id)
        for workspace, run_ids in unknown.items():
            await self._begin(calls, workspace, run_ids)
        found = await self._ask(calls)
        self._owners |= {row.run_id: row.suite_id for row in found}
        self._owners = dict(list(self._owners.items())[-MOST:])
        self._sought = dict(list(self._sought.items())[-MOST:])
        return found

    async def _begin(self, calls: PollCalls, workspace: int, run_ids: set[str]) -> None:
        """Queue the multi-tests of a workspace for runs that are new, and for all once an hour."""
        search = self._searches.setdefault(workspace, Search())
        expired = self._is_expired(search)
        new = run_ids - self._sought.keys()
        if not expired and not new:
            return
        if expired:
            read = partial(self._list, calls, workspace)
            failures = len(calls.failures)
            found = calls.good_if_any(self._client, await fan_out({workspace: read}))
            if not found and len(calls.failures) > failures:
                return  # it is tried again with the next poll
            search.multi_tests = found.get(workspace, ())
            search.listed_at = self._clock.monotonic()
        search.queue = list(search.multi_tests)
        search.missing |= run_ids
        self._sought |= dict.fromkeys(run_ids)

    def _is_expired(self, search: Search) -> bool:
        """Return whether the multi-tests of a workspace are to be listed, again or at all."""
        listed_at = search.listed_at
        return listed_at is None or self._clock.monotonic() - listed_at >= LIST_SECONDS

    async def _list(self, calls: PollCalls, workspace: int) -> tuple[str, ...]:
        """List the multi-tests of a workspace, the one that ran last first."""
        pages = await read_pages(
            lambda skip: self._client.multi_tests(workspace, skip=skip),
            key=lambda each: each.id,
            most=PAGES,
        )
        if pages.short:
            self._client.surprise("incomplete_list")
            calls.failures.append(short_list(workspace, "multi_tests"))
        found: dict[str, float] = {}
        for each in pages.items:
            suite_id = suite_id_of(each.id, multi=True)
            if suite_id:
                self._names.learn(suite_id, each)
                found[text(each.id)] = finite(each.last_run_time) or 0.0
        return tuple(sorted(found, key=lambda number: found[number], reverse=True))

    async def _ask(self, calls: PollCalls) -> list[MasterRow]:
        """Ask the next few multi-tests for their runs; what fails is asked again for an hour."""
        asked = dict(self._next())
        outcomes = await fan_out(
            {number: partial(self._runs_of, asked[number], number) for number in asked}
        )
        found = calls.good_if_any(self._client, outcomes)
        rows = [row for runs in found.values() for row in runs]
        for number, workspace in asked.items():
            search = self._searches[workspace]
            lost = number not in found and not self._client.lacks(outcomes[number])
            if lost and not self._is_expired(search):
                search.queue.append(number)
        for search in self._searches.values():
            search.missing -= {row.run_id for row in rows}
            if not search.missing:
                search.queue.clear()
            if not search.queue:
                search.missing.clear()
        return rows

    def _next(self) -> Iterator[tuple[str, int]]:
        """Take the next few multi-tests from the queues, each with its workspace."""
        room = ASKED_PER_POLL
        for workspace, search in self._searches.items():
            numbers, search.queue = search.queue[:room], search.queue[room:]
            room -= len(numbers)
            for number in numbers:
                yield number, workspace

    async def _runs_of(self, workspace: int, number: str) -> list[MasterRow]:
        """Read the runs of a multi-test; none if the list has runs that say they are another's."""
        suite_id = suite_id_of(number, multi=True)
        reply = await self._client.masters({"collectionId": number})
        rows = read_page(reply.result or (), self._client.surprise, workspace=workspace)
        if any(row.suite_id not in ("", suite_id) for row in rows):
            return []
        return [msgspec.structs.replace(row, suite_id=suite_id) for row in rows]
