"""The names of suites, taken from the tests, because a run's report can be renamed.

A name is read once and then renewed once a day. If a test does not exist any more, or this key may
not read it, its id takes the place of the name until the next renewal.
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


#: The age at which a name is renewed.
RENEW_SECONDS = 86_400.0

#: The largest numbers of new names and of renewed names that one poll reads.
NEW_PER_POLL = 60
RENEWED_PER_POLL = 6

# The number of names read concurrently. A refusal costs a proof of the credentials, and the guard
# allows few proofs in a minute, so a poll stops after a chunk with a refusal. It also stops after a
# chunk in which all calls failed, because the vendor may have a problem.
_CHUNK = 3


class SuiteName(msgspec.Struct, frozen=True, kw_only=True):
    """The name of a suite, and the Unix timestamp at which it was read."""

    name: str
    read_at: float


class SuiteNames:
    """The names of the suites of one source.

    Attributes:
        known: The known names by suite id.
    """

    def __init__(self, client: BlazeMeterClient, known: Mapping[str, SuiteName]) -> None:
        """Start with the names known before a restart, by suite id."""
        self._client = client
        self._clock = client.context.clock
        #: The suites whose name the last call could not read; they are read after all others.
        self._failed: set[str] = set()
        self.known = dict(known)

    def of(self, suite_id: str) -> str | None:
        """Return the name of a suite, or `None` if it is not known yet."""
        known = self.known.get(suite_id)
        return None if known is None else known.name

    def learn(self, suite_id: str, description: SuiteDescription) -> None:
        """Record the name in a description; a suite without a name is named after its id."""
        name = (description.name or "").strip()
        if not name:
            self._client.surprise("missing_field")
        self._note(suite_id, name)

    async def read(self, calls: PollCalls, suite_ids: Iterable[str]) -> None:
        """Read the unknown names of some suites, in this order, and renew a few old names.

        An old name of any other suite is forgotten.
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
        """Read some names; return true if a call was refused or all failed, to stop reading."""
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
        """Read the description of a suite; if there is no such test, try a multi-test."""
        number = suite_id.removeprefix(MULTI)
        if suite_id_of(number, multi=False) != number:
            raise NotFoundError(Reason.UNKNOWN_ID, "the id of a suite is not a number")
        if suite_id == number:
            with suppress(NotFoundError):
                return await self._client.test(number)
        return await self._client.multi_test(number)

    def _note(self, suite_id: str, name: str) -> None:
        """Remember a name; if it is empty, keep the last known name or use the id."""
        name = name or self.of(suite_id) or suite_id
        self.known[suite_id] = SuiteName(name=name, read_at=self._clock.time())
