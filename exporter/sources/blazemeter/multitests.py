"""The search for the multi-tests of runs whose descriptions name no test.

No public document says which field of a run names its multi-test. The documented direction is the
opposite: list the multi-tests of a workspace, then the runs of each. That takes a call per
multi-test, so the search runs only while there is such a run, with few calls per poll.
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


#: The shortest time between two listings of a workspace's multi-tests.
LIST_SECONDS = 3600.0

#: The largest number of pages of such a list, and of multi-tests whose runs one poll reads.
PAGES = 20
ASKED_PER_POLL = 5

#: The largest number of runs whose multi-test, or whose unsuccessful search, is remembered.
MOST = 10_000


class Search(msgspec.Struct, kw_only=True):
    """The search for the multi-tests of one workspace's runs.

    Attributes:
        multi_tests: The ids of the workspace's multi-tests, the last run multi-test first.
        listed_at: Monotonic seconds at which they were listed.
        queue: The multi-tests whose runs are still to be read.
        missing: The runs whose multi-test is unknown.
    """

    multi_tests: tuple[str, ...] = ()
    listed_at: float | None = None
    queue: list[str] = msgspec.field(default_factory=list)
    missing: set[str] = msgspec.field(default_factory=set)


class MultiTests:
    """Finds the multi-tests that runs belong to."""

    def __init__(
        self, client: BlazeMeterClient, names: SuiteNames, known: Iterable[MasterRow]
    ) -> None:
        """Start with the runs whose suite is known; `names` receives the listed names."""
        self._client = client
        self._clock = client.context.clock
        self._names = names
        self._owners = {row.run_id: row.suite_id for row in known if row.suite_id}
        self._sought: dict[str, None] = {}
        self._searches: dict[int, Search] = {}

    def identified(self, row: MasterRow) -> MasterRow:
        """Return a run with its suite, or unchanged if the suite was not found."""
        if row.suite_id:
            return row
        return msgspec.structs.replace(row, suite_id=self._owners.get(row.run_id, ""))

    async def search(self, calls: PollCalls, rows: Iterable[MasterRow]) -> list[MasterRow]:
        """Search for the suites of some runs.

        Args:
            calls: Records the outcomes of the calls.
            rows: The runs, with or without a suite.

        Returns:
            The runs whose suite was found. These can include further runs, because the vendor lists
            all runs of a multi-test.
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
        """Queue a workspace's multi-tests if a run is new or the last listing is an hour old."""
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
                return  # the next poll tries again
            search.multi_tests = found.get(workspace, ())
            search.listed_at = self._clock.monotonic()
        search.queue = list(search.multi_tests)
        search.missing |= run_ids
        self._sought |= dict.fromkeys(run_ids)

    def _is_expired(self, search: Search) -> bool:
        """Return whether the multi-tests of a workspace must be listed (again)."""
        listed_at = search.listed_at
        return listed_at is None or self._clock.monotonic() - listed_at >= LIST_SECONDS

    async def _list(self, calls: PollCalls, workspace: int) -> tuple[str, ...]:
        """List the multi-tests of a workspace, the last run multi-test first."""
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
        """Read the runs of the next few multi-tests; retry failed calls for up to an hour."""
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
        """Read the runs of a multi-test; return none if one of them names another suite."""
        suite_id = suite_id_of(number, multi=True)
        reply = await self._client.masters({"collectionId": number})
        rows = read_page(reply.result or (), self._client.surprise, workspace=workspace)
        if any(row.suite_id not in ("", suite_id) for row in rows):
            return []
        return [msgspec.structs.replace(row, suite_id=suite_id) for row in rows]
