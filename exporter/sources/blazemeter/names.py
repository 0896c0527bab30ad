"""The names of suites: a test's own, never its run's, which a report can have renamed.

A name is read once and then once a day. One that is gone or not for this key is not asked for again
before that, and the id stands in for it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from exporter.errors import Reason
from exporter.sources.blazemeter.calls import PollCalls, fan_out
from exporter.sources.blazemeter.client import BlazeMeterClient, NotFoundError
from exporter.sources.blazemeter.masters import MULTI, suite_id_of


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.sources.blazemeter.replies import SuiteDescription


#: So often a name is read.
RENEW_SECONDS = 86_400.0

#: So many new names are read in one poll at most, and so many are renewed.
NEW_PER_POLL = 60
RENEWED_PER_POLL = 6

# A refusal costs a proof of the credentials, of which the guard allows few in a minute: so many
# calls are under way when the first one comes, and none is sent after it in the same poll. Neither
# is one after as many that all failed: the vendor may not be well.
_CHUNK = 3


class SuiteName(msgspec.Struct, frozen=True, kw_only=True):
    """The name of a suite, with the time at which it was read, seconds of the epoch."""

    name: str
    read_at: float


class SuiteNames:
    """The names of the suites of one source."""

    def __init__(self, client: BlazeMeterClient, known: Mapping[str, SuiteName]) -> None:
        """Go on with the names that are known by the suite's id."""
        self._client = client
        self._clock = client.context.clock
        #: The suites whose names could not be read at last, which come after all others.
        self._failed: set[str] = set()
        self.known = dict(known)

    def of(self, suite_id: str) -> str | None:
        """Return the name of a suite, `None` while it is not known."""
        known = self.known.get(suite_id)
        return None if known is None else known.name

    def learn(self, suite_id: str, description: SuiteDescription) -> None:
        """Take a name in; a suite without one is called by its id."""
        name = (description.name or "").strip()
        if not name:
            self._client.surprise("missing_field")
        self._note(suite_id, name)

    async def read(self, calls: PollCalls, suite_ids: Iterable[str]) -> None:
        """Read the names that are not known, in this order, and a few of those that are old.

        An old name that is not wanted is forgotten.
        """
        now = self._clock.time()
        wanted = dict.fromkeys(suite_ids)
        old = {
            suite_id
            for suite_id, name in self.known.items()
            if not 0 <= now - name.read_at < RENEW_SECONDS
        }
        for suite_id in old - wanted.keys():
            del self.known[suite_id]
        self._failed &= wanted.keys()
        new = sorted((each for each in wanted if each not in self.known), key=self._has_failed)
        due = new[:NEW_PER_POLL] + [each for each in wanted if each in old][:RENEWED_PER_POLL]
        for start in range(0, len(due), _CHUNK):
            chunk = due[start : start + _CHUNK]
            if await self._read_chunk(calls, chunk):
                break

    async def _read_chunk(self, calls: PollCalls, suite_ids: list[str]) -> bool:
        """Read some names, and return whether to stop: one was refused, or all calls failed."""
        outcomes = await fan_out({each: partial(self._ask, each) for each in suite_ids})
        found = calls.good_if_any(self._client, outcomes)
        for suite_id, description in found.items():
            self.learn(suite_id, description)
        lacking = [each for each, outcome in outcomes.items() if self._client.lacks(outcome)]
        for suite_id in lacking:
            self._note(suite_id, "")
        self._failed |= outcomes.keys() - found.keys() - set(lacking)
        self._failed -= found.keys() | set(lacking)
        refused = any(map(self._client.refuses, outcomes.values()))
        return refused or not (found or lacking)

    def _has_failed(self, suite_id: str) -> bool:
        return suite_id in self._failed

    async def _ask(self, suite_id: str) -> SuiteDescription:
        """Ask for a suite; what is no test may be a multi-test."""
        number = suite_id.removeprefix(MULTI)
        if suite_id_of(number, multi=False) != number:
            raise NotFoundError(Reason.UNKNOWN_ID, "the id of a suite is no number")
        if suite_id == number:
            with suppress(NotFoundError):
                return await self._client.test(number)
        return await self._client.multi_test(number)

    def _note(self, suite_id: str, name: str) -> None:
        """Note a name; without one the last known stays, and if there is none the id stands."""
        name = name or self.of(suite_id) or suite_id
        self.known[suite_id] = SuiteName(name=name, read_at=self._clock.time())
