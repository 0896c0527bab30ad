"""Random disturbances of the exporter's surroundings, one after the other."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from exporter.conformance.front import instead
from exporter.conformance.vendor import hang
from exporter.simulator.vendor import Command, Fault
from tests.faults.watch import is_quiet
from tests.faults.world import ALONE, INTERVAL_SECONDS
from tests.support.processes import fetch


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path
    from random import Random

    from exporter.conformance.front import Front
    from tests.faults.exporters import Exporter
    from tests.faults.pair import Pair
    from tests.faults.receiver import Receiver
    from tests.faults.watch import Watch
    from tests.faults.world import Source, Vendors


ALERT = "LoadFleetAgentUnreachable"

#: The longest time until an alert fires or ends after its cause, while its source is well.
NEWS_SECONDS = 10.0

#: The longest fault, shorter than readings live.
LONGEST_SECONDS = ALONE.stale_seconds / 4


class Havoc:
    """Disturbs vendors, secrets, configuration and the Alertmanager.

    Attributes:
        exporters: All exporters.
        pair: The disturbances of a pair, if there are two exporters.
        done: The number of disturbances of each kind.
        victims: The agents that were taken down, by source and id.
    """

    def __init__(
        self,
        vendors: Vendors,
        receiver: Receiver,
        receiving: Front,
        watch: Watch,
        *,
        file: Path,
        state: Mapping[str, str],
        chance: Random,
        overlap: float,
        rest: float,
    ) -> None:
        """Take everything that is disturbed.

        Args:
            vendors: All vendors.
            receiver: The Alertmanager.
            receiving: The Alertmanager's server.
            watch: The checks, which collect failures.
            file: The configuration.
            state: The configuration's `state`.
            chance: The source of randomness.
            overlap: The seconds for which a file may hold a refused credential. Calls refused in
                that time count for a minute.
            rest: The longest time between two disturbances.
        """
        self._vendors = vendors
        self._receiver = receiver
        self._receiving = receiving
        self._watch = watch
        self._file = file
        self._chance = chance
        self._overlap = overlap
        self._rest = rest
        self._state = state
        self._guest = False
        self._edited = 0
        self.exporters: tuple[Exporter, ...]
        self.pair: Pair | None = None
        self.done: dict[str, int] = {}
        self.victims: set[tuple[str, str]] = set()

    def configuration(self) -> dict[str, Any]:
        """Return the exporter's present configuration."""
        sources = [source.configuration() for source in self._vendors.sources.values()]
        # One source after the other is edited; the others stay as they are.
        sources[self._edited % len(sources)]["timeout"] = f"{800 + self._edited % 7}ms"
        if self._guest:
            sources.append(self._vendors.guest.configuration())
        return {
            "defaults": {
                "interval": f"{INTERVAL_SECONDS:g}s",
                "timeout": "800ms",
                "stale_after": f"{self._vendors.terms.stale_seconds:g}s",
                "retries": 1,
                "auth_retry": "60s",
            },
            "sources": sources,
            "alerting": {
                "alertmanagers": [self._receiving.url],
                "thresholds": {"for_scale": 0.003},
                "evaluation_interval": "250ms",
                "resend_interval": "5s",
            },
            "state": dict(self._state),
        }

    def write(self) -> Path:
        """Write the present configuration, and return its file."""
        self._file.write_text(yaml.safe_dump(self.configuration()))
        return self._file

    async def upset(self, end: float) -> None:
        """Disturb until a time, each kind at least once and as often as the others."""
        whole = False
        while True:
            kinds = [self.die, self.cut, self.fail, self.hang, self.stutter, self.rotate]
            kinds += [self.reload, self.mistake, self.entertain, self.deafen]
            self._chance.shuffle(kinds)
            for kind in kinds:
                if whole and time.monotonic() >= end:
                    return
                self._count(kind.__name__)
                await kind()
                await self._pause(0.2, self._rest)
            whole = True

    async def hunt(self, end: float) -> None:
        """Take down one agent after the other until a time, and wait for each alert."""
        while time.monotonic() < end:
            quiet = [source for source in self._vendors.sources.values() if is_quiet(source)]
            if quiet:
                await self._strike(self._chance.choice(quiet))
            await self._pause(0.2, 0.8)

    async def die(self) -> None:
        """Kill a vendor and restart it."""
        source = self._any()
        with source.disturbed():
            await source.front.refuse()
            await self._pause(0.5, LONGEST_SECONDS)
            await source.front.open()

    async def cut(self) -> None:
        """Cut all connections of a vendor."""
        source = self._any()
        with source.disturbed():
            await source.front.hang_up()

    async def fail(self) -> None:
        """Let a vendor answer with errors."""
        source = self._any()
        fault = self._chance.choice([Fault.BAD_GATEWAY, Fault.UNAVAILABLE, Fault.GARBAGE])
        with source.disturbed():
            source.portal.obey(Command(fault=fault))
            await self._pause(0.5, LONGEST_SECONDS)
            source.portal.obey(Command(fault=Fault.NONE))

    async def hang(self) -> None:
        """Let a vendor not answer.

        Real Load is left out: a portal that begins to hang among the pings of a poll cannot be told
        from targets that hang, so it would be no error to show them as down.
        """
        kept = [each for each in self._vendors.sources.values() if each.name != "realload"]
        source = self._chance.choice(kept)
        with source.disturbed():
            source.front.treatment = instead(hang)
            await self._pause(0.5, LONGEST_SECONDS)
            source.front.treatment = None
            await source.front.hang_up()

    async def stutter(self) -> None:
        """Let a part of a vendor's calls fail."""
        source = self._any()
        with source.disturbed():
            source.portal.obey(Command(fault_rate=0.4))
            await self._pause(0.5, LONGEST_SECONDS)
            source.portal.obey(Command(fault_rate=0.0))

    async def rotate(self) -> None:
        """Change a vendor's credential, and a little later the file that holds it."""
        source = self._any()
        with source.disturbed():
            source.rotate()
            await self._pause(0.0, self._overlap)
            source.write_secret()

    async def reload(self) -> None:
        """Change a source's settings, which must not be seen in its series."""
        self._edited += 1
        await self._load("reloaded\n")

    async def mistake(self) -> None:
        """Load a configuration that is wrong, and then go back."""
        async with self._all_running():
            self._file.write_text("sources: [")
            await self._post("The old configuration stays in use.")
            self.write()
        await self._load("reloaded\n")

    async def entertain(self) -> None:
        """Add or remove a source."""
        self._guest = not self._guest
        await self._load("reloaded\n")

    async def deafen(self) -> None:
        """Stop the Alertmanager for a moment."""
        await self._receiving.refuse()
        await self._pause(0.5, LONGEST_SECONDS)
        await self._receiving.open()

    async def _load(self, expected: str) -> None:
        async with self._all_running():
            self.write()
            await self._post(expected)

    async def _post(self, expected: str) -> None:
        for exporter in self.exporters:
            answer = await fetch(f"{exporter.url}/-/reload", data={})
            if not answer.startswith(expected):
                self._watch.accuse(f"a reload was answered with: {answer}")

    @asynccontextmanager
    async def _all_running(self) -> AsyncIterator[None]:
        if self.pair is None:
            yield
            return
        async with self.pair.hold:
            yield
            self.pair.touched()

    async def _strike(self, source: Source) -> None:
        """Take an agent down until its alert fires, and bring it back until the alert ends."""
        target = self._chance.choice(source.steady())
        began = time.monotonic()
        before = self._receiver.states(ALERT, target.id)
        self._count("strike")
        self.victims.add((source.name, target.id))
        for up, state in ((False, "firing"), (True, "resolved")):
            source.force(target, up=up)
            told = await self._told(source, lambda: self._receiver.states(ALERT, target.id), state)
            if not told:
                self._watch.accuse(f"{source.name}: nobody heard that {target.id} is {state}")
        news = self._receiver.states(ALERT, target.id)[len(before) :]
        # Without readings, a target is unknown, and cannot be down.
        is_known = source.longest_spell(began) < self._vendors.terms.stale_seconds / 2
        stalled = self._watch.feels_stall(began, math.inf)
        if is_known and not stalled and news != ["firing", "resolved"]:
            self._watch.accuse(f"{source.name}: of {target.id} was told: {news}")

    async def _told(self, source: Source, states: Callable[[], list[str]], state: str) -> bool:
        """Wait for a notification, within the limit."""
        begun = time.monotonic()
        while states()[-1:] != [state]:
            now, well = time.monotonic(), source.well_since
            if now - begun > self._vendors.terms.recovery_seconds + NEWS_SECONDS:
                return False
            # After a stall, the exporter has to poll again before it can notify.
            if well is not None and now - max(begun, well, *self._watch.stalls[-1:]) > NEWS_SECONDS:
                return False
            await asyncio.sleep(0.05)
        return True

    def _any(self) -> Source:
        return self._chance.choice(list(self._vendors.sources.values()))

    def _count(self, name: str) -> None:
        self.done[name] = self.done.get(name, 0) + 1

    async def _pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(least, most))


@contextmanager
def until_end(*tasks: asyncio.Task[None]) -> Iterator[None]:
    """Cancel tasks at the end of the context."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
