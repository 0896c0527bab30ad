"""A fault, played against some sources of every provider while the others are well."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from exporter.conformance.candidate import Told
from exporter.conformance.faults.table import AMPLE, BRIEF, LATER_SECONDS, MAX_REPLY
from exporter.conformance.trial import Trial, accused, fits, parsed, select, vendor_samples
from exporter.errors import Reason
from exporter.metrics import catalogue as c
from tests.support.candidates import CANDIDATES


if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, MutableMapping
    from pathlib import Path

    from exporter.conformance.faults.table import Fault
    from exporter.conformance.trial import Page, Subject


#: Sources that the fault hits in all calls, in one target or kind of call, and not at all.
WHOLE = tuple(candidate.name for candidate in CANDIDATES)
PARTS = tuple(f"{candidate.name}-part" for candidate in CANDIDATES if candidate.part)
WELL = tuple(f"{candidate.name}-well" for candidate in CANDIDATES)

#: Expectations of faults in a part, where they differ from those of faults in all calls.
_PARTS_TOLD = {
    "realload-part": {
        "403": Told(reason=Reason.ACCESS_DENIED),  # a proof shows that the credentials are good
        # A ping that times out is its target's failure if others are answered.
        **dict.fromkeys(("hang", "hang in the body", "drip"), Told(reason=None)),
    },
    "blazemeter-part": {
        "403": Told(reason=Reason.ACCESS_DENIED),
        "404": Told(reason=Reason.UNKNOWN_ID),
    },
}
_LATE = {"realload-part": {f"{c.AGENT_UP.name}/41": "timeout"}}

_SOURCES = {
    f"{candidate.name}{suffix}": candidate
    for candidate in CANDIDATES
    for suffix in ("", "-part", "-well")
    if suffix != "-part" or candidate.part
}

_STATE = re.compile(r"loadfleet_(\w+_up|\w+_failure|source_auth_failed|exporter_breaker_open)\{")

#: The most memory that a flood may take.
FLOOD_BYTES = 16 << 20


class Case:
    """One fault, played against a source that is polled.

    Attributes:
        logs: The log entries.
        errors: Errors that reached the event loop unhandled.
    """

    def __init__(self, fault: Fault, folder: Path, **options: Any) -> None:
        self.fault = fault
        self._tls = options.get("tls")
        self.trial = Trial(
            _SOURCES,
            folder,
            **{
                "timeout": BRIEF if fault.lasts else AMPLE,
                "max_reply_bytes": MAX_REPLY,
                "retries": 1,
                **options,
            },
        )
        self.logs: list[MutableMapping[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self._before: dict[str, Counter[str]] = {}

    async def round(self) -> None:
        """Poll everything once, counting failures from here on."""
        self._before = self.trial.failures()
        await self.trial.engine.poll_once()

    async def later(self) -> None:
        """Poll everything once, after the longest pause."""
        self.trial.time.shift(LATER_SECONDS)
        await self.round()

    async def strike(self) -> None:
        """Let the fault begin."""
        fault = self.fault
        for name in (*WHOLE, *PARTS):
            subject = self.trial.subjects[name]
            front = subject.front
            if name in PARTS:
                front.struck = _part_of(subject)
            if fault.on_connections and name in PARTS:
                continue
            front.treatment = fault.treatment
            front.greeting = fault.greeting
            front.tls = fault.tls or front.tls
            if fault.on_connections:
                await front.hang_up()
            if fault.refuses:
                await front.refuse()

    async def relent(self) -> None:
        """Let the fault end."""
        for subject in self.trial.subjects.values():
            subject.front.treatment = subject.front.greeting = None
            if self.fault.tls is not None:
                subject.front.tls = self._tls
                await subject.front.hang_up()
            await subject.front.open()

    async def flooded_round(self) -> None:
        """Poll everything once and watch the memory."""
        tracemalloc.start()
        try:
            await self.round()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < FLOOD_BYTES

    def page(self, *, whole: bool = True) -> Page:
        """Scrape without waiting; parse the page, or its samples of targets and sources."""
        body = self.trial.alike(self.trial.engine.exposition.metrics().body.decode())
        # Not `splitlines`: texts may contain other line ends.
        lines = (f"{line}\n" for line in body.split("\n"))
        return parsed("".join(line for line in lines if whole or _STATE.match(line)))

    def reasons(self) -> dict[str, set[str]]:
        """Return the reasons of the polls that failed in this round, by source.

        Calls that were not sent because of these failures are left out.
        """
        now = self.trial.failures()
        reasons = {
            name: set(now[name] - before) - {Reason.BLOCKED.value}
            for name, before in self._before.items()
        }
        return {name: found for name, found in reasons.items() if found}

    def told(self) -> dict[str, Told]:
        """Return how each source must report the fault."""
        return {name: self._told(name) for name in self._struck()}

    def expected_reasons(self) -> dict[str, set[str]]:
        """Return the reasons that failed polls must have, by source."""
        return {
            name: {told.reason.value}
            for name, told in self.told().items()
            if told.reason is not None
        }

    def accused(self) -> dict[str, dict[str, str]]:
        """Return the targets that are rightly down, by source."""
        return _LATE if self.fault.lasts and not self.fault.on_connections else {}

    def _struck(self) -> tuple[str, ...]:
        return WHOLE if self.fault.on_connections else (*WHOLE, *PARTS)

    def _told(self, name: str) -> Told:
        told = self.fault.told(self.trial.subjects[name].candidate)
        # All calls depend on the login, the part that is hit here.
        if name in WHOLE or name == "eggplant-login-part":
            return told
        common = Told(reason=self.fault.reason)
        return _PARTS_TOLD.get(name, {}).get(self.fault.name, common)


@asynccontextmanager
async def playing(fault: Fault, folder: Path, **options: Any) -> AsyncIterator[Case]:
    """Connect the sources of a case, and check at the end that no error was unhandled."""
    case = Case(fault, folder, **options)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: case.errors.append(context))
    with capture_logs() as logs:
        case.logs = logs
        async with case.trial:
            yield case
    assert [] == case.errors
    assert [] == [entry for entry in logs if entry["event"] == "poll_crashed"]


def flags(page: Page, name: str) -> set[str]:
    """Return the sources of which a family says 1."""
    return {dict(labels)["source"] for labels, value in select(page, name).items() if value == 1}


def all_accused(page: Page) -> dict[str, dict[str, str]]:
    """Return the targets shown as down, by source."""
    found = {name: accused(page, name) for name in _SOURCES}
    return {name: down for name, down in found.items() if down}


def ups(page: Page, source: str, *, without: str = "") -> dict[frozenset[tuple[str, str]], float]:
    """Return the states of a source's machines, without the source's labels."""
    return {
        frozenset((key, text) for key, text in (*labels, ("", name)) if key != "source"): value
        for (name, labels), value in vendor_samples(page, source).items()
        if name.endswith("_up") and without not in dict(labels).values()
    }


def _part_of(subject: Subject) -> Any:
    return lambda seen: fits(subject.candidate.part, seen)
