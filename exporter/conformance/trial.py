"""An engine with sources that are candidates, each behind a front door of its own."""

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
        file: Where its credential is.
    """

    name: str
    candidate: Candidate
    front: Front
    portal: Portal
    file: Path


class Trial:
    """An engine, its sources, and a clock that only moves when told to, or when somebody pauses.

    A pause of the exporter's own, as between two tries, passes at once.

    Attributes:
        subjects: By name.
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
        """Make the vendors.

        Args:
            candidates: What the sources are, by their names.
            folder: Where credentials are put.
            options: Of the vendors.
            tls: The vendors' end of TLS, if they have it.
            domain: Where the vendors' names are; without it they are called by address.
            clock: Taken in the place of the one that moves when told to.
            vendors_clock: The vendors', if it is another.
            state: Where the engine's state is kept; in memory if not given.
            defaults: Settings of all sources.
        """
        self.time = SteppedTime()
        self.clock = clock or msgspec.structs.replace(self.time.clock, sleep=self._pause)
        self._state = state
        self.engine = self._engine()
        self.subjects: dict[str, Subject] = {}
        self.data: dict[str, Any] = {
            # One interval for all, whatever their defaults are, so that times mean the same.
            "defaults": {"auth_retry": "60s", "interval": "60s", **defaults}
        }
        # Sources that are alike have one vendor, behind several doors.
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
        """Return the one source there is."""
        (subject,) = self.subjects.values()
        return subject

    async def __aenter__(self) -> Self:
        """Open the vendors' doors and connect the sources."""
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
        """Return a page on which all vendors have one address, so that sources can be compared."""
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
            # The guard's, which lasts as long as calls do, and these are real.
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
        """Go on with another engine, with other defaults if any are given."""
        await self._end()
        self.data = {**self.data, "defaults": {**self.data["defaults"], **defaults}}
        self.engine = self._engine()
        await self.engine.connect(from_data(self.data))

    async def reload(self, **defaults: Any) -> None:
        """Go over to a configuration with other defaults."""
        self.data = {**self.data, "defaults": {**self.data["defaults"], **defaults}}
        await self.engine.apply(from_data(self.data))

    async def poll(self, name: str = "") -> None:
        """Poll all tasks of a source at once, those it is blocked for left out."""
        poller = self.engine.pollers[name or self.only.name]
        tasks = poller.source.settings.intervals()
        if not poller.source.blocked:
            await asyncio.gather(*(poller.poll(task) for task in tasks))

    def readings(self, name: str = "") -> list[Reading]:
        """Return what is known of a source's targets."""
        return [
            reading
            for snapshot in self.engine.store.snapshots()
            if snapshot.source == (name or self.only.name)
            for reading in snapshot.readings
            if not isinstance(reading, SourceHealth | TaskHealth)
        ]

    def targets(self) -> dict[str, str]:
        """Return the id of one target of each kind that can be looked at."""
        kinds = self.only.candidate.provider.kinds
        found: dict[str, str] = {}
        for reading in self.readings():
            kind = type(reading).__name__.lower()
            if kind in kinds:
                field = f"{kind}_id" if hasattr(reading, f"{kind}_id") else kind
                found.setdefault(kind, getattr(reading, field))
        return found

    def page(self) -> Page:
        """Scrape and parse."""
        return parsed(self.engine.exposition.metrics().body.decode())

    def failures(self) -> dict[str, Counter[str]]:
        """Count the failed polls by source and reason."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self.subjects}
        for family in self.engine.telemetry[own.POLL_FAILURES].collect():
            for sample in family.samples:
                if sample.value and sample.name.endswith("_total"):
                    counts[sample.labels["source"]][sample.labels["reason"]] += int(sample.value)
        return counts


#: What ends in `_up` and says of no machine whether it is up.
_NO_TARGETS = frozenset(
    {
        "loadfleet_exporter_state_up",
        c.LOCATION_AGENTS_UP.name,
        c.SOURCE_TASK_UP.name,
        c.SOURCE_UP.name,
    }
)


def parsed(text: str) -> Page:
    """Read a page with prometheus-client's parser, which raises what is wrong with it."""
    page: Page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in page, key
            page[key] = sample.value
    return page


def select(page: Page, name: str, **labels: str) -> dict[Labels, float]:
    """Return the samples of a name that have certain labels."""
    wanted = labels.items()
    return {found: value for (of, found), value in page.items() if of == name and found >= wanted}


def vendor_samples(page: Page, source: str) -> Page:
    """Return what was learnt from a vendor, without what is known of the source itself."""
    return {
        (name, labels): value
        for (name, labels), value in page.items()
        if not name.startswith((f"{c.PREFIX}exporter_", f"{c.PREFIX}source_"))
        and ("source", source) in labels
    }


def accused(page: Page, source: str) -> dict[str, str]:
    """Return who is said to be down, by family and id, with the reason."""
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
    """Return the machines of which a page knows whether they are up."""
    return {labels for name, labels in page if name.endswith("_up") and name not in _NO_TARGETS}


def fits(pattern: str, seen: Any) -> bool:
    """Tell whether a request is one of a kind."""
    return re.fullmatch(pattern, line(seen), re.DOTALL) is not None
