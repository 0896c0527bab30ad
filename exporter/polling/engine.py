"""Everything between the settings and the bytes of `/metrics`: sources, pollers, store.

The daemon runs it on a schedule and serves it; `status` and `explain` run it once.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import msgspec

from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.errors import ConfigurationError
from exporter.fleet.readings import SourceHealth
from exporter.fleet.store import Store
from exporter.lockout.ledger import Ledgers
from exporter.metrics.exposition import Exposition
from exporter.metrics.telemetry import SelfMetrics
from exporter.polling.poller import HEALTH, Poller
from exporter.polling.reload import Difference, difference, identities
from exporter.polling.schedule import Schedule
from exporter.sharding import Shard
from exporter.sources.base import SourceContext
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.settings.load import Settings
    from exporter.sources.base import Explanation
    from exporter.sources.settings import SourceSettings


class Engine:
    """The sources of one configuration and what they have said."""

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        ledgers: Ledgers | None = None,
        random: Random | None = None,
        shard: Shard | None = None,
    ) -> None:
        """Prepare an engine without sources.

        Args:
            clock: Where time comes from.
            ledgers: What is known of refused credentials.
            random: For the jitter of retries.
            shard: The share of the targets that is ours; all of them if not given.
        """
        self.clock = clock
        self.telemetry = SelfMetrics(clock=clock)
        self._shard = shard or Shard()
        self.telemetry.sharded(self._shard)
        self.store = Store(clock)
        self.exposition = Exposition(self.store, self.telemetry)
        self.schedule = Schedule(clock=clock)
        self._ledgers = ledgers or Ledgers()
        self._random = random or Random()  # noqa: S311 - jitter is no secret
        self._pollers: dict[str, Poller] = {}
        self._first_polls: set[tuple[str, str]] = set()
        self._identities: dict[str, tuple[SourceSettings, str]] = {}

    @property
    def pollers(self) -> Mapping[str, Poller]:
        """The pollers by the names of their sources, in the order of the configuration."""
        return self._pollers

    @property
    def first_polls_done(self) -> bool:
        """Whether each scheduled task was polled, or left out for a reason, at least once."""
        return not self._first_polls

    def connect(self, settings: Settings) -> None:
        """Make all sources; sends nothing yet."""
        self._identities = identities(settings.sources)
        for source in settings.sources:
            self._pollers[source.name] = self._connected(source)

    def begin(self) -> None:
        """Start polling on schedule."""
        self.schedule.start()
        for name in self._pollers:
            self._schedule(name)

    async def apply(self, settings: Settings) -> Difference:
        """Go over to other settings while polling; sources that stay as they were go on.

        A source whose settings changed keeps its readings until its first poll replaces them,
        so that its series have no gap; unless it is another account or portal by now.

        Raises:
            ConfigurationError: A source cannot be made, as when a file of its has changed since it
                was checked. It is not polled until the next call; all others are.
        """
        new = identities(settings.sources)
        found = difference(self._identities, new)
        by_name = {source.name: source for source in settings.sources}
        for name in (*found.removed, *found.changed):
            await self._stop(name, by_name.get(name))
            del self._identities[name], self._pollers[name]
        problems: list[str] = []
        started: dict[str, Poller] = {}
        for name in (*found.added, *found.changed):
            try:
                started[name] = self._connected(by_name[name])
            except ConfigurationError as error:
                problems += error.problems
            else:
                self._identities[name] = new[name]
        pollers = self._pollers | started
        self._pollers = {name: pollers[name] for name in by_name if name in pollers}
        for name in started:
            self._schedule(name)
        if problems:
            raise ConfigurationError(problems)
        return found

    async def round(self) -> None:
        """Poll every task of every source once."""
        await asyncio.gather(*(self._round(poller) for poller in self._pollers.values()))
        await self.exposition.refresh()

    async def explain(self, source: str, kind: str, target_id: str) -> Explanation:
        """Look at one target of the inventory now.

        Raises:
            LookupError: There is no such source, kind or target.
            PollError: The look failed.
        """
        poller = self._pollers.get(source)
        if poller is None:
            known = ", ".join(self._pollers)
            raise LookupError(f"there is no source {source!r}; there is: {known}")
        return await poller.source.explain(kind, target_id)

    async def end(self, *, grace_seconds: float) -> None:
        """Stop polling, give what runs the grace, close all connections."""
        await self.schedule.stop(grace_seconds=grace_seconds)
        await asyncio.gather(*(poller.source.aclose() for poller in self._pollers.values()))

    def _connected(self, settings: SourceSettings) -> Poller:
        telemetry = self.telemetry.source(settings.provider, settings.name)
        known = {
            snapshot.task: snapshot.readings
            for snapshot in self.store.of_source(settings.provider, settings.name)
        }
        context = SourceContext(
            telemetry=telemetry,
            clock=self.clock,
            ledger=self._ledgers.of(settings.provider, settings.url, settings.name),
            random=self._random,
            shard=self._shard,
            known=known,
            up=any(isinstance(each, SourceHealth) and each.up for each in known.get(HEALTH, ())),
        )
        provider = PROVIDERS[settings.provider]
        tasks = settings.intervals()
        # Who tells of the source's health has to call it.
        teller = () if provider.spread & tasks.keys() else (next(iter(tasks), ""),)
        return Poller(
            provider.connect(settings, context),
            intervals={
                task: seconds
                for task, seconds in tasks.items()
                if task in provider.spread or self._shard.owns(settings.name, task)
            },
            store=self.store,
            telemetry=telemetry,
            clock=self.clock,
            tells_health=self._shard.owns(settings.name, *teller),
        )

    async def _stop(self, name: str, following: SourceSettings | None) -> None:
        """Stop polling a source and drop what does not hold for the one that follows it."""
        poller = self._pollers[name]
        settings = poller.source.settings
        for task in poller.intervals:
            await self.schedule.remove(name, task)
            self._first_polls.discard((name, task))
        await poller.source.aclose()
        if following is None or not _same_account(settings, following):
            self.store.remove_source(settings.provider, name)
            self.telemetry.forget(settings.provider, name)
            return
        for task in poller.intervals.keys() - following.intervals().keys():
            self.store.remove(settings.provider, name, task)
            self.telemetry.source(settings.provider, name).forget_task(task)
        for snapshot in self.store.of_source(settings.provider, name):
            self.store.put(msgspec.structs.replace(snapshot, labels=following.labels))

    def _schedule(self, name: str) -> None:
        poller = self._pollers[name]
        settings = poller.source.settings
        telemetry = self.telemetry.source(settings.provider, settings.name)
        for task, interval in poller.intervals.items():
            self._first_polls.add((name, task))
            self.schedule.add(
                telemetry,
                task,
                interval,
                partial(self._poll, poller, task),
                blocked=partial(self._blocked, poller, task),
            )

    async def _poll(self, poller: Poller, task: str) -> None:
        await poller.poll(task)
        self._first_polls.discard((poller.source.settings.name, task))

    def _blocked(self, poller: Poller, task: str) -> bool:
        # The breaker opens and closes with time, so its gauges are looked at here as well.
        poller.publish_health()
        if poller.source.blocked:
            self._first_polls.discard((poller.source.settings.name, task))
            return True
        return False

    async def _round(self, poller: Poller) -> None:
        # The first task finds out whether the vendor answers, and what it learns spares others
        # calls. All others at once: a vendor that hangs costs a time-out more, not one per task.
        tasks = list(poller.intervals)
        for some in (tasks[:1], tasks[1:]):
            if not poller.source.blocked:
                await asyncio.gather(*(poller.poll(task) for task in some))


def _same_account(old: SourceSettings, new: SourceSettings) -> bool:
    return (old.provider, old.url) == (new.provider, new.url)
