"""A trial: an engine whose sources are candidates, each with a server in front of its vendor."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from exporter.conformance.candidate import SMALL, Candidate
from exporter.conformance.clock import SteppedTime
from exporter.conformance.front import Front, line
from exporter.fleet.readings import Reading, SourceHealth, TaskHealth
from exporter.lockout.keeper import ASK_AGAIN_SECONDS, RENEWAL_SECONDS
from exporter.metrics import catalogue as c
from exporter.metrics import own
from exporter.polling.engine import Engine
from exporter.settings.load import from_data
from exporter.simulator.vendor import Portal


if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import TracebackType

    from exporter.clock import Clock
    from exporter.simulator.options import SimulatorOptions
    from exporter.state.base import State


Labels = frozenset[tuple[str, str]]

#: The samples of a page by name and labels.
Page = dict[tuple[str, Labels], float]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a trial.

    Attributes:
        name: The source's name.
        candidate: The candidate.
        front: The server in front of the vendor.
        portal: The vendor's portal.
        file: The file with the credential.
    """

    name: str
    candidate: Candidate
    front: Front
    portal: Portal
    file: Path


class Trial:
    """An engine with its sources and a clock for tests.

    The clock moves only when a test shifts it, or when the exporter pauses, as between two tries;
    such a pause returns at once.

    Attributes:
        time: The clock to shift.
        clock: The engine's clock.
        engine: The engine.
        subjects: The sources by name.
        data: The configuration.
    """

    def __init__(
        self,
        candidates: Mapping[str, Candidate],
        folder: Path,
        *,
        options: SimulatorOptions = SMALL,
        tls: ssl.SSLContext | None = None,
        domain: str = "",
        clock: Clock | None = None,
        vendors_clock: Clock | None = None,
        state: State | None = None,
        **defaults: Any,
    ) -> None:
        """Make the simulated vendors.

        Args:
            candidates: The candidates by the names of the sources.
            folder: The folder for the files with credentials.
            options: The options of the vendors.
            tls: The vendors' TLS context; plain HTTP if not given.
            domain: The domain of the vendors' host names; without it their addresses are used.
            clock: The engine's clock, in place of the one that a test shifts.
            vendors_clock: The vendors' clock, if it differs from the engine's.
            state: The storage for the engine's state; in memory if not given.
            defaults: Settings for all sources.
        """
        self.time = SteppedTime()
        self.clock = clock or msgspec.structs.replace(self.time.clock, sleep=self._pause)
        self._state = state
        self.engine = self._engine()
        self.subjects: dict[str, Subject] = {}
        self.data: dict[str, Any] = {
            # One interval for all sources, so that a test's times fit every provider.
            "defaults": {"auth_retry": "60s", "interval": "60s", **defaults}
        }
        # Sources with the same candidate share a vendor, with several servers in front.
        apps = {
            each.name: each.vendor(options, vendors_clock or self.clock)
            for each in candidates.values()
        }
        for name, candidate in candidates.items():
            app = apps[candidate.name]
            file = folder / f"{name}.secret"
            candidate.written(app.state.portal, file)
            self.subjects[name] = Subject(
                name=name,
                candidate=candidate,
                front=Front(app, tls=tls),
                portal=app.state.portal,
                file=file,
            )
        self._domain = domain
        self._stack = AsyncExitStack()

    @property
    def only(self) -> Subject:
        """The only source."""
        (subject,) = self.subjects.values()
        return subject

    async def __aenter__(self) -> Self:
        """Start the vendors' servers and connect the sources."""
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        for subject in self.subjects.values():
            await self._stack.enter_async_context(subject.front)
        self._stack.push_async_callback(self._end)
        self.data["sources"] = [
            {
                **subject.candidate.connected(self._url(subject), subject.file),
                "name": subject.name,
            }
            for subject in self.subjects.values()
        ]
        await self.engine.connect(from_data(self.data))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    def alike(self, page: str) -> str:
        """Return a page with the same address for all vendors, so that sources can be compared."""
        for subject in self.subjects.values():
            address = self._url(subject).partition("//")[2]
            page = page.replace(f'"{address}"', '"vendor"')
        return page

    def _url(self, subject: Subject) -> str:
        if not self._domain:
            return subject.front.url
        return f"http://{subject.name}.{self._domain}:{subject.front.port}"

    async def _pause(self, seconds: float) -> None:
        if seconds in {RENEWAL_SECONDS, ASK_AGAIN_SECONDS}:
            # The guard waits this long for calls in flight, which take real time.
            await asyncio.sleep(seconds)
            return
        self.time.shift(seconds)
        await asyncio.sleep(0)

    def _engine(self) -> Engine:
        random = Random(1)  # noqa: S311 - jitter is no secret
        return Engine(clock=self.clock, random=random, state=self._state)

    async def _end(self) -> None:
        await self.engine.end(grace_seconds=0)

    async def restart(self, **defaults: Any) -> None:
        """Replace the engine by a new one, with changed defaults if any are given."""
        await self._end()
        self.data = {**self.data, "defaults": {**self.data["defaults"], **defaults}}
        self.engine = self._engine()
        await self.engine.connect(from_data(self.data))

    async def reload(self, **defaults: Any) -> None:
        """Apply a configuration with changed defaults."""
        self.data = {**self.data, "defaults": {**self.data["defaults"], **defaults}}
        await self.engine.apply(from_data(self.data))

    async def poll(self, name: str = "") -> None:
        """Poll all tasks of a source concurrently, unless its guard blocks calls."""
        poller = self.engine.pollers[name or self.only.name]
        tasks = poller.source.settings.intervals()
        if not poller.source.blocked:
            await asyncio.gather(*(poller.poll(task) for task in tasks))

    def readings(self, name: str = "") -> list[Reading]:
        """Return the current readings of a source's targets."""
        return [
            reading
            for snapshot in self.engine.store.snapshots()
            if snapshot.source == (name or self.only.name)
            for reading in snapshot.readings
            if not isinstance(reading, SourceHealth | TaskHealth)
        ]

    def targets(self) -> dict[str, str]:
        """Return the id of one target of each kind that `explain` supports, by kind."""
        kinds = self.only.candidate.provider.kinds
        found: dict[str, str] = {}
        for reading in self.readings():
            kind = type(reading).__name__.lower()
            if kind in kinds:
                field = f"{kind}_id" if hasattr(reading, f"{kind}_id") else kind
                found.setdefault(kind, getattr(reading, field))
        return found

    def page(self) -> Page:
        """Return the parsed metrics page."""
        return parsed(self.engine.exposition.metrics().body.decode())

    def failures(self) -> dict[str, Counter[str]]:
        """Return the number of failed polls by source and reason."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self.subjects}
        for family in self.engine.telemetry[own.POLL_FAILURES].collect():
            for sample in family.samples:
                if sample.value and sample.name.endswith("_total"):
                    counts[sample.labels["source"]][sample.labels["reason"]] += int(sample.value)
        return counts


#: Families that end in `_up` and do not show whether a machine is up.
_NO_TARGETS = frozenset(
    {
        "loadfleet_exporter_state_up",
        c.LOCATION_AGENTS_UP.name,
        c.SOURCE_TASK_UP.name,
        c.SOURCE_UP.name,
    }
)


def parsed(text: str) -> Page:
    """Return a page parsed by prometheus-client, which raises an error if the page is invalid."""
    page: Page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in page, key
            page[key] = sample.value
    return page


def select(page: Page, name: str, **labels: str) -> dict[Labels, float]:
    """Return the samples of a metric that have certain labels."""
    wanted = labels.items()
    return {found: value for (of, found), value in page.items() if of == name and found >= wanted}


def vendor_samples(page: Page, source: str) -> Page:
    """Return the samples about a source's targets, without those about the source itself."""
    return {
        (name, labels): value
        for (name, labels), value in page.items()
        if not name.startswith((f"{c.PREFIX}exporter_", f"{c.PREFIX}source_"))
        and ("source", source) in labels
    }


def accused(page: Page, source: str) -> dict[str, str]:
    """Return the reason of each target that is shown as down, by family and id."""
    down: dict[str, str] = {}
    for (name, labels), value in vendor_samples(page, source).items():
        text = dict(labels)
        ids = [text[key] for key in sorted(text) if key.endswith("_id") or key == "controller"]
        if name.endswith("_up") and name not in _NO_TARGETS and value == 0:
            down.setdefault(f"{name}/{'/'.join(ids)}", "")
        elif name.endswith("_failure") and value == 1:
            down[f"{name.removesuffix('_failure')}_up/{'/'.join(ids)}"] = text["reason"]
    return down


def ups(page: Page) -> set[Labels]:
    """Return the labels of all machines whose up or down state a page shows."""
    return {labels for name, labels in page if name.endswith("_up") and name not in _NO_TARGETS}


def fits(pattern: str, seen: Any) -> bool:
    """Return whether an expression matches a request."""
    return re.fullmatch(pattern, line(seen), re.DOTALL) is not None
