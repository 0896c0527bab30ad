"""Exporters that share a state, each with its own proxies to the same portals.

The proxies are in the test's process, so that one exporter can lose a portal that the others reach,
and so that each exporter's calls are known.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from exporter.clock import SYSTEM_CLOCK
from exporter.conformance.candidate import SMALL
from exporter.conformance.front import Front, line
from tests.support.candidates import CANDIDATES
from tests.support.processes import EXPORTER, daemon, fetch, free_port
from tests.support.redis import PROGRAMS, RedisServer
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from exporter.conformance.front import Treatment
    from exporter.conformance.vendor import Seen
    from exporter.simulator.vendor import Portal
    from exporter.simulator.world import World
    from tests.support.processes import Process


SCRAPE_SECONDS = 0.1

#: The names of the samples about targets.
TARGETS = r"loadfleet_(?!exporter_|build)"

#: The candidates by name.
VENDORS = {each.name: each for each in CANDIDATES}

REALLOAD = ("realload",)

BACKENDS = ("sqlite", *PROGRAMS)

#: Measurements of this test run, one per line; `tests/conftest.py` prints them.
MEASURED: list[str] = []


class Scrape(NamedTuple):
    """A scraped page.

    Attributes:
        began: The time of the request, monotonic.
        ended: The time of the answer, monotonic.
        leads: Whether the exporter polls all sources.
        series: The samples about targets, by name and labels.
    """

    began: float
    ended: float
    leads: bool
    series: Mapping[str, float]


class Member:
    """An exporter of the pair.

    Attributes:
        name: Its name in the test.
        url: The URL of its pages.
        process: Its process.
        sent: Its calls, with their times.
        scrapes: Its scraped pages, if it is `watched`.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.url = ""
        self.process: Process
        self.sent: list[tuple[float, str]] = []
        self.scrapes: list[Scrape] = []
        self.fronts: dict[str, Front] = {}
        self.folder = folder

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def note(self, seen: Seen) -> None:
        self.sent.append((SYSTEM_CLOCK.monotonic(), line(seen)))

    def treat(self, treatment: Treatment | None) -> None:
        """Treat all its calls in this way from now on."""
        for front in self.fronts.values():
            front.treatment = treatment

    def since(self, moment: float) -> list[str]:
        """Return its calls since a time."""
        return [what for at, what in self.sent if at >= moment]

    async def first_since(self, moment: float, *, timeout_seconds: float = 60.0) -> float:
        """Wait for its first call after a moment, and return the seconds in between."""
        await until(lambda: self.since(moment), timeout_seconds=timeout_seconds)
        return next(at for at, _ in self.sent if at >= moment) - moment

    async def samples(self, pattern: str) -> dict[str, float]:
        """Return the samples of its page that begin with an expression."""
        return samples(await fetch(f"{self.url}/metrics"), pattern)

    async def values(self, pattern: str) -> set[float]:
        """Return all values of such samples."""
        return set((await self.samples(pattern)).values())

    async def leads(self) -> bool:
        """Return whether it polls all sources."""
        return _leads(await fetch(f"{self.url}/metrics"))

    async def stands_by(self) -> bool:
        """Return whether it polls nothing, but shows readings."""
        page = await fetch(f"{self.url}/metrics")
        return {0.0} == set(samples(page, r"loadfleet_exporter_leader\{").values()) and bool(
            samples(page, TARGETS)
        )

    async def ready(self) -> bool:
        return "ready" == (await fetch(f"{self.url}/-/ready")).strip()

    async def watch(self) -> None:
        """Scrape it until cancelled."""
        while True:
            began = SYSTEM_CLOCK.monotonic()
            with suppress(OSError):
                page = await fetch(f"{self.url}/metrics")
                ended = SYSTEM_CLOCK.monotonic()
                self.scrapes.append(Scrape(began, ended, _leads(page), samples(page, TARGETS)))
            await asyncio.sleep(SCRAPE_SECONDS)


class Installation:
    """Portals, a state, and exporters that watch the portals and share the state.

    Attributes:
        configuration: The exporters' configuration, without their proxies.
        portals: The portals, by the vendors' names.
        members: The running exporters, by name.
    """

    def __init__(
        self,
        folder: Path,
        state: Mapping[str, Any],
        *,
        vendors: Sequence[str] = REALLOAD,
        **more: Any,
    ) -> None:
        """Make the portals.

        Args:
            folder: The folder of all files.
            state: The section `state` of the configuration.
            vendors: The vendors, each with one portal.
            more: Further sections of the configuration.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._apps = {name: VENDORS[name].vendor(SMALL, SYSTEM_CLOCK) for name in vendors}
        self.portals: dict[str, Portal] = {
            name: app.state.portal for name, app in self._apps.items()
        }
        # Nothing listens there: every exporter uses its proxies, under the same URLs.
        self._urls = {name: f"http://127.0.0.1:{free_port()}" for name in vendors}
        self.configuration: dict[str, Any] = {
            "defaults": {"interval": "1s", "timeout": "900ms", "stale_after": "40s", "retries": 0},
            "state": dict(state),
            **more,
        }
        self.members: dict[str, Member] = {}
        self._stack = AsyncExitStack()

    @property
    def world(self) -> World:
        """The simulated world of the only vendor."""
        (portal,) = self.portals.values()
        return portal.world

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop all members."""
        await self._stack.__aexit__(kind, error, traceback)

    async def start(
        self,
        name: str,
        *,
        command: Sequence[str] = EXPORTER,
        watched: bool = False,
        treatment: Treatment | None = None,
    ) -> Member:
        """Start an exporter and wait until it answers.

        Args:
            name: Its name, also that of one which has ended.
            command: The command that runs it.
            watched: Whether it is scraped all the time.
            treatment: The treatment of its calls.
        """
        folder = self._folder / f"{name}-{len(list(self._folder.iterdir()))}"
        folder.mkdir()
        member = self.members[name] = Member(name, folder)
        sources = []
        for vendor, app in self._apps.items():
            front = Front(app)
            front.before = member.note
            member.fronts[vendor] = await self._stack.enter_async_context(front)
            candidate, file = VENDORS[vendor], self._folder / f"{vendor}.secret"
            candidate.written(self.portals[vendor], file)
            sources.append(
                candidate.connected(self._urls[vendor], file)
                | {"name": vendor, "tasks": {}, "proxy_url": front.url}
            )
        member.treat(treatment)
        member.url, member.process = await self._stack.enter_async_context(
            daemon(folder, self.configuration | {"sources": sources}, command=command)
        )
        if watched:
            watching = asyncio.create_task(member.watch())
            self._stack.push_async_callback(_ended, watching)
        return member

    async def pair(self, *, watched: bool = True, **how: Any) -> tuple[Member, Member]:
        """Start a leader and a standby, and wait until the standby shows the leader's readings.

        Args:
            watched: Whether both are scraped all the time.
            how: Arguments for starting the leader, see `start`.

        Returns:
            The leader, and the standby.
        """
        leader = await self.start("leader", watched=watched, **how)
        await until(leader.ready)
        assert await leader.leads()
        standby = await self.start("standby", watched=watched)
        await until(standby.ready)
        await until(standby.stands_by)
        if watched:
            known = SYSTEM_CLOCK.monotonic()
            for each in (leader, standby):
                await until(lambda each=each: each.scrapes and each.scrapes[-1].began >= known)  # type: ignore[misc]
        return leader, standby


@asynccontextmanager
async def shared(backend: str, folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Yield the section `state` of exporters that share a state, which is not a new one.

    Args:
        backend: One of `BACKENDS`.
        folder: The folder of the state.
    """
    if backend == "sqlite":
        yield {"path": str(folder / "state")}
        return
    server = RedisServer(backend, folder / "server")
    try:
        await grown_old(server)
        yield {"url": server.url()}
    finally:
        server.stop()


async def grown_old(server: RedisServer) -> None:
    """Begin the data of a server, dated back by a minute."""
    state = server.state()
    await state.delete("nothing")
    await state.aclose()
    server.age()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def samples(page: str, pattern: str) -> dict[str, float]:
    """Return the samples of a page that begin with an expression, by name and labels."""
    lines = (each.rpartition(" ") for each in page.splitlines() if re.match(pattern, each))
    return {series: float(value) for series, _, value in lines}


def _leads(page: str) -> bool:
    return {1.0} == set(samples(page, r"loadfleet_exporter_leader\{").values())


def gaps(member: Member, since: float, *others: Member, but: str = "") -> list[str]:
    """Return the series that an exporter lacked at some time, although all had them before.

    Series with a reason are left out: they exist only during a failure.

    Args:
        member: The exporter that goes on.
        since: The time from which gaps count, monotonic.
        others: Exporters that had shown the same.
        but: The label of a target that has changed.
    """
    had = (set(last(each, since).series) for each in (member, *others))
    wanted = {each for each in set.intersection(*had) if "reason=" not in each}
    wanted = {each for each in wanted if not but or but not in each}
    later = [scrape for scrape in member.scrapes if scrape.began >= since]
    assert wanted
    assert later
    return [
        f"{series} after {scrape.began - since:.1f} s"
        for scrape in later
        for series in sorted(wanted - scrape.series.keys())
    ]


def last(member: Member, before: float) -> Scrape:
    """Return an exporter's newest page at a moment, monotonic."""
    return [scrape for scrape in member.scrapes if scrape.ended <= before][-1]


def lag(leader: Member, standby: Member, series: str, value: float) -> float:
    """Return the least seconds for which the standby did not show the leader's value."""
    shown = next(each.ended for each in leader.scrapes if value == each.series.get(series))
    old = [each.began for each in standby.scrapes if value != each.series.get(series)]
    return max(0.0, old[-1] - shown)
