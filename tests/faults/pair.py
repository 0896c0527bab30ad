"""Two exporters with one Redis: their disturbances, and the checks of both pages."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.faults.watch import is_quiet
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tests.faults.exporters import Exporter
    from tests.faults.watch import Series, Watch
    from tests.faults.world import Source, Vendors
    from tests.support.redis import RedisServer


Kind = Callable[[], Awaitable[None]]

#: The time over which two pages, and the calls of a source, are compared.
STRETCH_SECONDS = 4.0

#: The time after a disturbance until both pages must agree again: the leader renews its lease every
#: 5 seconds, and takes it again if the store has lost it.
AGREED_SECONDS = 8.0

#: The number of comparisons in a short run before the store is disturbed.
COMPARED = 4

#: The longest wait for them. Pages are compared only while the machine is quick enough, and a busy
#: one has few such moments.
COMPARED_SECONDS = 120.0

#: The factor above which calls come from two exporters, which would send twice as many.
MORE = 1.5

#: The time until both exporters have noticed trouble with the store.
NOTICED_SECONDS = 6.0

_LEADER = "loadfleet_exporter_leader"
_STATE_UP = 'loadfleet_exporter_state_up{backend="redis"}'


class Pair:
    """Disturbs the exporters and their store, and compares both pages.

    Attributes:
        done: The number of disturbances of each kind.
        compared: The number of comparisons of two pages.
        of_exporters: The disturbances of the exporters.
        of_store: The disturbances of the store.
        hold: Held while an exporter does not run.
    """

    def __init__(
        self,
        vendors: Vendors,
        *,
        exporters: tuple[Exporter, ...],
        server: RedisServer,
        watch: Watch,
        chance: Random,
        long: bool,
    ) -> None:
        """Take everything that is disturbed.

        Args:
            vendors: All vendors.
            exporters: Both exporters.
            server: The store.
            watch: The checks, which collect failures.
            chance: The source of randomness.
            long: Whether there is time for disturbances that take minutes to recover from.
        """
        self._vendors = vendors
        self._exporters = exporters
        self._server = server
        self._watch = watch
        self._chance = chance
        self._long = long
        self._upset = 0
        self._upset_at = time.monotonic()
        self._pages: dict[str, deque[tuple[float, Series]]] = {
            exporter.name: deque() for exporter in exporters
        }
        self._calls: dict[str, int] = {}
        # Sources whose readings the store has.
        self._stored: set[str] = set()
        self.of_exporters: tuple[Kind, ...] = (self.kill, self.leave, self.freeze, self.fell)
        self.of_store: tuple[Kind, ...] = (self.restart, self.stop, self.flush, self.fill)
        self.hold = asyncio.Lock()
        self.done: dict[str, int] = {}
        self.compared = 0

    def begin(self) -> None:
        """Measure the calls of one exporter."""
        now = time.monotonic()
        for source in self._vendors.sources.values():
            self._calls[source.name] = source.calls_since(now - STRETCH_SECONDS)

    async def upset(self, kinds: Sequence[Kind], end: float) -> None:
        """Disturb until a time, each kind at least once and as often as the others."""
        whole = False
        while not whole or time.monotonic() < end:
            for kind in self._chance.sample(kinds, len(kinds)):
                if whole and time.monotonic() >= end:
                    return
                self.done[kind.__name__] = self.done.get(kind.__name__, 0) + 1
                self._upset += 1
                with self._vendors.disturbed():
                    await kind()
                    self._upset -= 1
                    self._upset_at = time.monotonic()
                    if kind in self.of_store and self._long:
                        await asyncio.sleep(NOTICED_SECONDS)
                await self._rest()
            whole = True
            if not self._long:
                return

    async def until_compared(self) -> None:
        """Wait until both pages were compared a few times."""
        with suppress(TimeoutError):
            await until(lambda: self.compared >= COMPARED, timeout_seconds=COMPARED_SECONDS)

    async def kill(self) -> None:
        """Kill an exporter, and start it again."""
        await self._anew(self._any(), signal.SIGKILL)

    async def leave(self) -> None:
        """Stop an exporter in order, and start it again."""
        await self._anew(self._any(), signal.SIGTERM)

    async def fell(self) -> None:
        """Kill both, and start them again."""
        async with self.hold:
            for exporter in self._exporters:
                await exporter.end(signal.SIGKILL)
            await self._pause(0.0, 2.0)
            await asyncio.gather(*(exporter.start() for exporter in self._exporters))

    async def freeze(self) -> None:
        """Suspend an exporter, perhaps for longer than its lease, and resume it."""
        exporter = self._any()
        async with self.hold:
            exporter.freeze()
            await self._pause(0.5, 25.0 if self._long else 2.0)
            exporter.thaw()

    async def restart(self) -> None:
        """Restart the store, which loses unwritten data."""
        self._stored.clear()
        await asyncio.to_thread(self._server.stop, kill=self._chance.random() < 0.5)
        await self._pause(0.0, 10.0 if self._long else 1.0)
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        """Suspend the store for a while."""
        self._stored.clear()
        self._server.send(signal.SIGSTOP)
        await self._pause(0.5, 10.0 if self._long else 2.0)
        self._server.send(signal.SIGCONT)

    async def flush(self) -> None:
        """Delete all data of the store."""
        self._stored.clear()
        await asyncio.to_thread(self._server.command, "FLUSHALL")

    async def fill(self) -> None:
        """Make the store full for a while."""
        self._stored.clear()
        await self._limit("1")
        await self._pause(0.5, 10.0 if self._long else 2.0)
        await self._limit("0")

    def touched(self) -> None:
        """Record that both got another configuration."""
        self._upset_at = time.monotonic()

    def see(self, exporter: Exporter, series: Series, *, asked_at: float) -> None:
        """Keep a page for the comparison, and check it.

        Args:
            exporter: The exporter of the page.
            series: The page's series.
            asked_at: The time of the request, monotonic.
        """
        pages = self._pages[exporter.name]
        pages.append((asked_at, series))
        while pages[0][0] < asked_at - STRETCH_SECONDS:
            pages.popleft()
        for source in self._vendors.sources.values():
            if (
                source.name in self._stored
                and self._watch.keeps_readings(source, asked_at)
                and not any(each.since and each.watch.has_all(source) for each in self._exporters)
            ):
                lacks = min(exporter.watch.missing[source.name])
                self._watch.accuse(f"{source.name}: nobody shows {lacks}, which the store has")

    async def compare(self) -> None:
        """Compare both pages and count calls for ever."""
        while True:
            await asyncio.sleep(STRETCH_SECONDS / 4)
            now = time.monotonic()
            since = max(self._upset_at, *(each.since or math.inf for each in self._exporters))
            begin = now - AGREED_SECONDS
            if self._upset or since > begin or self._watch.feels_stall(begin, math.inf):
                continue
            for source in self._vendors.sources.values():
                if is_quiet(source):
                    self._stored.add(source.name)
                    self._compare(source, now)

    def _compare(self, source: Source, now: float) -> None:
        one, other = (
            [_of(page, source.name) for at, page in self._pages[exporter.name]]
            for exporter in self._exporters
        )
        if min(len(one), len(other)) < 5:
            return
        self.compared += 1
        for key in {key for page in (*one, *other) for key in page}:
            # One page is at most a poll behind the other, so both have shown the same value by now.
            if {page.get(key) for page in one}.isdisjoint(page.get(key) for page in other):
                self._watch.accuse(f"the pages differ: {key}")
        if (leaders := self._leaders(source)) != 1:
            self._watch.accuse(f"{source.name} has {leaders:g} leaders")
        calls, most = source.calls_since(now - STRETCH_SECONDS), self._calls[source.name] * MORE + 4
        if calls > most:
            self._watch.accuse(f"{source.name}: {calls} calls, where one exporter makes {most:g}")

    def judge(self) -> None:
        """Run the checks at the end."""
        for exporter in self._exporters:
            pages = self._pages[exporter.name]
            if self._long and not (pages and pages[-1][1].get(_STATE_UP) == 1):
                self._watch.accuse(f"{exporter.name} does not use the store")
        for source in self._vendors.sources.values():
            if (leaders := self._leaders(source)) != 1:
                self._watch.accuse(f"{source.name} has {leaders:g} leaders in the end")

    @property
    def is_back(self) -> bool:
        """True if each source has one leader and both processes use the store."""
        newest = [pages[-1][1] for pages in self._pages.values() if pages]
        return all(self._leaders(each) == 1 for each in self._vendors.sources.values()) and (
            not self._long or all(page.get(_STATE_UP) == 1 for page in newest)
        )

    def _leaders(self, source: Source) -> float:
        return sum(
            value
            for pages in self._pages.values()
            for key, value in (pages[-1][1] if pages else {}).items()
            if key.startswith(_LEADER + "{") and f'source="{source.name}"' in key
        )

    async def _anew(self, exporter: Exporter, number: signal.Signals) -> None:
        async with self.hold:
            await exporter.end(number)
            await self._pause(0.0, 20.0 if self._long else 1.0)
            await exporter.start()

    async def _limit(self, most: str) -> None:
        command = ("CONFIG", "SET", "maxmemory", most)
        await asyncio.to_thread(self._server.command, *command)

    async def _rest(self) -> None:
        """Wait, so that the next disturbance comes during the last one or after it."""
        if not self._long or self._chance.random() < 0.5:
            await self._pause(0.2, 5.0 if self._long else 0.5)
            return
        limit = time.monotonic() + self._vendors.terms.recovery_seconds
        while not all(map(is_quiet, self._vendors.sources.values())):
            if time.monotonic() > limit:
                return
            await asyncio.sleep(0.1)
        await self._pause(AGREED_SECONDS, 3 * AGREED_SECONDS)

    def _any(self) -> Exporter:
        return self._chance.choice(self._exporters)

    async def _pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(least, most))


#: Families of tasks polled so rarely that, after the store lost its data, it lacks them for longer
#: than the pages are compared.
_NOT_COMPARED = (
    "loadfleet_exporter_",
    "loadfleet_agent_jobs{",
    "loadfleet_certificate_",
    "loadfleet_min_required_version_info{",
    "loadfleet_template_",
)


def _of(page: Series, source: str) -> Series:
    """Return a page's series of a vendor."""
    return {
        key: value
        for key, value in page.items()
        if f'source="{source}"' in key and not key.startswith(_NOT_COMPARED)
    }
