"""The engine: everything between the settings and the bytes of `/metrics`.

The daemon polls with the engine on a schedule and serves its data; the commands `status` and
`explain` poll with it once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.errors import ConfigurationError
from exporter.fleet.kinds import by_task
from exporter.fleet.store import Store
from exporter.fleet.usual import Usuals
from exporter.lockout.ledger import Ledger
from exporter.lockout.members import Members
from exporter.metrics.exposition import Exposition
from exporter.metrics.own import SHARD_ORDINAL, SHARDS, STATE_UP
from exporter.metrics.telemetry import SelfMetrics
from exporter.polling.duty import Duty, Hooks
from exporter.polling.memory import Memory
from exporter.polling.poller import Kept, Poller, TaskStatus
from exporter.polling.reload import Difference, difference, identities
from exporter.polling.schedule import Schedule
from exporter.sharding import Shard
from exporter.sources.base import SourceContext
from exporter.sources.registry import FAMILIES, PROVIDERS
from exporter.state.base import State
from exporter.state.opening import open_state
from exporter.state.settings import StateSettings


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from exporter.metrics.telemetry import SourceMetrics
    from exporter.settings.load import Settings
    from exporter.sources.base import Explanation, Source
    from exporter.sources.settings import SourceSettings


class Engine:
    """The sources of one configuration, their pollers and their newest readings.

    Attributes:
        pollers: The pollers by the names of their sources, in the order of the configuration.
    """

    def __init__(  # noqa: PLR0913 - all by keyword, with defaults
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random: Random | None = None,
        shard: Shard | None = None,
        state: StateSettings | State | None = None,
        keeps: bool = True,
        total_shards: int = 1,
        usual: Callable[[str], Usuals | None] = lambda _: Usuals(),
    ) -> None:
        """Prepare an engine without sources.

        Args:
            clock: The source of time.
            random: The source of the retries' jitter.
            shard: The share of the targets to poll; all targets if not given.
            state: The settings of the state, or the state itself; in memory if not given.
            keeps: Whether to save the results of polls in the state, and to show those of the last
                run at the start. If false, the sources only read them.
            total_shards: The number of shards, for an engine that is not a shard itself.
            usual: Returns the usual figures of a source's targets, see `Poller`.
        """
        self.clock = clock
        self.telemetry = SelfMetrics(clock=clock)
        self._shard = shard or Shard()
        self.telemetry[SHARD_ORDINAL].set(self._shard.index)
        self.telemetry[SHARDS].set(self._shard.total)
        settings = state if isinstance(state, StateSettings) else StateSettings()
        self.state: State
        if isinstance(state, State):
            self.state = state
            self.telemetry[STATE_UP].labels(state.backend).set(1)
        else:
            self.state = open_state(state, clock=clock, telemetry=self.telemetry)
        self._memory = Memory(
            self.state.shared, namespace=settings.namespace, shard=self._shard, clock=clock
        )
        self._keeps = keeps
        self._members = Members(
            self.state,
            namespace=settings.namespace,
            shard=shard or Shard(total=total_shards),
            clock=clock,
            only_looks=shard is None,
            shared=settings.url is not None,
        )
        self.beat = self._members.beat
        self.store = Store(clock)
        self.exposition = Exposition(self.store, self.telemetry, families=FAMILIES)
        self.schedule = Schedule(clock=clock)
        self._usual = usual
        self._random = random or Random()  # noqa: S311 - jitter is no secret
        self.pollers: dict[str, Poller] = {}
        self._begun = False
        self._first_polls: set[tuple[str, str]] = set()
        self._restored: set[tuple[str, str]] = set()
        self._identities: dict[str, tuple[SourceSettings, str]] = {}
        self._duties: dict[str, Duty] = {}
        #: How many calls of `explain` each source has in flight.
        self._asked: Counter[Source] = Counter()
        self._log = structlog.get_logger("exporter.engine")

    @property
    def first_polls_done(self) -> bool:
        """True once each scheduled task was polled or skipped."""
        return self._begun and not self._first_polls

    @property
    def first_shown(self) -> bool:
        """True once each scheduled task was polled, or its readings were restored."""
        return self._begun and self._first_polls <= self._restored

    async def connect(self, settings: Settings) -> None:
        """Create all sources; this sends nothing yet."""
        self._identities = identities(settings.sources)
        # All at once, so that a store that does not answer costs one time-out.
        kept = await asyncio.gather(*map(self._memory.recall, settings.sources))
        for source, each in zip(settings.sources, kept, strict=True):
            self.pollers[source.name] = self._recalled(source, each)

    def begin(self) -> None:
        """Start polling on schedule the sources that no other process polls."""
        self.schedule.start()
        for name in self.pollers:
            self._begin(name)
        self._begun = True

    async def apply(self, settings: Settings) -> Difference:
        """Replace the settings while polling; sources without changes continue undisturbed.

        A source whose settings changed keeps its readings until its first poll replaces them, so
        that its series have no gap. If the provider or the URL changed, its readings are dropped.

        Returns:
            The sources that were added, changed, removed and kept.

        Raises:
            ConfigurationError: A source cannot be created, for example because one of its files has
                changed since the check. That source is not polled until the next call; all others
                are.
        """
        new = identities(settings.sources)
        found = difference(self._identities, new)
        by_name = {source.name: source for source in settings.sources}
        kept: dict[str, dict[str, Kept]] = {}
        for name in (*found.removed, *found.changed):
            await self._stop(name, by_name.get(name))
            del self._identities[name]
            old, following = self.pollers.pop(name), by_name.get(name)
            if following is not None and _same_account(old.source.settings, following):
                kept[name] = {
                    task: replace(
                        each,
                        status=TaskStatus(health=each.status.health, answered=each.status.answered),
                    )
                    for task, each in old.kept.items()
                    if task in following.intervals()
                }
        problems: list[str] = []
        started: dict[str, Poller] = {}
        for name in (*found.added, *found.changed):
            try:
                started[name] = (
                    self._connect(by_name[name], kept[name])
                    if name in kept
                    else self._recalled(by_name[name], await self._memory.recall(by_name[name]))
                )
            except ConfigurationError as error:
                problems += error.problems
                # The next settings may need another lease.
                self._duties.pop(name, None)
            else:
                self._identities[name] = new[name]
        pollers = self.pollers | started
        self.pollers = {name: pollers[name] for name in by_name if name in pollers}
        if self.schedule.running:
            for name in started:
                self._begin(name)
        if problems:
            raise ConfigurationError(problems)
        return found

    async def poll_once(self) -> None:
        """Poll every task of every source once."""
        await asyncio.gather(*(_poll_once(poller) for poller in self.pollers.values()))
        self._begun = True
        await self.exposition.refresh()

    def settings_of(self, source: str) -> SourceSettings | None:
        """Return the settings of a source, `None` if there is no such source."""
        poller = self.pollers.get(source)
        return None if poller is None else poller.source.settings

    async def explain(self, source: str, kind: str, target_id: str) -> Explanation:
        """Poll one target of the inventory.

        Returns:
            The target's reading and the vendor's replies.

        Raises:
            LookupError: There is no such source, kind or target.
            PollError: The call failed.
        """
        poller = self.pollers.get(source)
        if poller is None:
            known = ", ".join(self.pollers)
            raise LookupError(f"there is no source {source!r}; there is: {known}")
        duty = self._duties.get(source)
        if duty is not None and duty.is_behind and not duty.polls:
            await self._renew(source)
        asked = poller.source
        self._asked[asked] += 1
        try:
            explanation = await asked.explain(kind, target_id)
        finally:
            self._asked[asked] -= 1
            if not self._asked[asked]:
                del self._asked[asked]
                if asked is not poller.source:
                    await asked.aclose()
        return replace(explanation, reading=poller.dated(explanation.reading))

    async def end(self, *, grace_seconds: float) -> None:
        """Stop polling, give polls in flight the grace period to end, and close all connections.

        If a standby waits for a source, it gets the source at once.
        """
        duties = tuple(self._duties.values())
        await asyncio.gather(*(duty.hand_over() for duty in duties))
        await self.schedule.stop(grace_seconds=grace_seconds)
        await asyncio.gather(*(duty.leave() for duty in duties))
        await asyncio.gather(*(poller.source.aclose() for poller in self.pollers.values()))
        await self._members.leave()
        await self.state.aclose()

    def _recalled(self, settings: SourceSettings, kept: Mapping[str, Kept]) -> Poller:
        """Connect a source with its data of before a restart, and show readings not yet expired."""
        if not self._keeps:
            # The outcomes are those of another process's polls.
            kept = {task: replace(each, status=TaskStatus()) for task, each in kept.items()}
            return self._connect(settings, kept)
        poller = self._connect(settings, kept)
        telemetry = self.telemetry.source(settings.provider, settings.name)
        now = self.clock.monotonic()
        for task in poller.intervals.keys() & kept.keys():
            status, snapshot = kept[task].status, kept[task].snapshot.aged(now)
            telemetry.restored(task, attempt=status.last_attempt, success=status.last_success)
            if snapshot is not None:
                self.store.put(snapshot)
                self._restored.add((settings.name, task))
        return poller

    def _connect(self, settings: SourceSettings, kept: Mapping[str, Kept]) -> Poller:
        name = settings.name
        telemetry = self.telemetry.source(settings.provider, name)
        if self._keeps and name not in self._duties:
            self._duties[name] = self._duty(settings, telemetry)
        duty = self._duties.get(name)
        provider = PROVIDERS[settings.provider]
        return Poller(
            self._source(settings, kept),
            intervals=self._shard.tasks(name, settings.intervals(), provider.spread),
            store=self.store,
            telemetry=telemetry,
            clock=self.clock,
            kinds=by_task(provider.kinds, settings.intervals()),
            shows_health=self._shard.shows_health(name, settings.intervals(), provider.spread),
            kept=kept,
            keep=duty.keep if duty is not None else None,
            told=duty.leadership.tell if duty is not None else lambda: None,
            usual=self._usual,
        )

    def _source(self, settings: SourceSettings, kept: Mapping[str, Kept]) -> Source:
        """Create a source with the readings known so far."""
        context = SourceContext(
            telemetry=self.telemetry.source(settings.provider, settings.name),
            clock=self.clock,
            ledger=Ledger(self.state, settings.url, settings.LOCKOUT),
            state=self.state,
            members=self._members.count,
            random=self._random,
            shard=self._shard,
            turn=self._members.turn if settings.LOCKOUT.block else lambda: None,
            known={task: each.snapshot.readings for task, each in kept.items()},
            memory={task: each.snapshot.memory for task, each in kept.items()},
            may_call=partial(self._may_call, settings.name),
        )
        return PROVIDERS[settings.provider].connect(settings, context)

    def _may_call(self, name: str) -> bool:
        """Return whether a source may send calls: this process polls it, or explains a target."""
        duty = self._duties.get(name)
        if duty is None or duty.may_poll:
            return True
        return any(source.settings.name == name for source in self._asked)

    def _duty(self, settings: SourceSettings, telemetry: SourceMetrics) -> Duty:
        name = settings.name

        async def begin() -> None:
            if self._duties[name].is_behind:
                await self._renew(name)
            self._schedule(name)

        async def end() -> None:
            for task in self.pollers[name].intervals:
                await self.schedule.remove(name, task)

        return Duty(
            settings,
            self._memory,
            Hooks(
                poller=lambda: self.pollers[name],
                begin=begin,
                end=end,
                heard=partial(self._note_heard, name),
            ),
            state=self.state.shared,
            clock=self.clock,
            telemetry=telemetry,
        )

    def _begin(self, name: str) -> None:
        """Schedule the polls of a source, or compete for its lease."""
        poller = self.pollers[name]
        telemetry = self.telemetry.source(poller.source.settings.provider, name)
        for task, interval in poller.intervals.items():
            self._first_polls.add((name, task))
            telemetry.declare_task(task, interval)
        duty = self._duties.get(name)
        if duty is None:
            self._schedule(name)
        elif poller.intervals:
            duty.begin()

    def _note_heard(self, name: str) -> None:
        """Note which tasks need no first poll, because the leader's polls are shown."""
        poller = self.pollers[name]
        for task in poller.intervals:
            if self.store.get(poller.source.settings.provider, name, task) is not None:
                self._restored.add((name, task))
            status = poller.status(task)
            if status.health is not None and not status.restored:
                self._first_polls.discard((name, task))

    async def _renew(self, name: str) -> None:
        """Create the source of a poller again, with the readings received from the leader."""
        poller = self.pollers[name]
        old = poller.source
        try:
            poller.source = self._source(old.settings, poller.kept)
        except ConfigurationError as error:
            # For example, a file for TLS is gone. The old source is still connected.
            self._log.warning("source_not_renewed", source=name, message="; ".join(error.problems))
            return
        self._duties[name].is_behind = False
        # If an `explain` is in flight, it closes the source when it ends.
        if not self._asked[old]:
            await old.aclose()

    async def _stop(self, name: str, following: SourceSettings | None) -> None:
        """Stop polling a source and drop the data that its new settings make invalid."""
        poller = self.pollers[name]
        settings = poller.source.settings
        if name in self._duties:
            await self._duties.pop(name).leave()
        for task in poller.intervals:
            self._first_polls.discard((name, task))
            self._restored.discard((name, task))
        await poller.source.aclose()
        if following is None or not _same_account(settings, following):
            self.store.remove_source(settings.provider, name)
            self.telemetry.forget(settings.provider, name)
            return
        for task in poller.intervals.keys() - following.intervals().keys():
            self.store.remove(settings.provider, name, task)
            self.telemetry.source(settings.provider, name).forget_task(task)
        for snapshot in self.store.of_source(settings.provider, name):
            self.store.put(replace(snapshot, labels=following.labels))

    def _schedule(self, name: str) -> None:
        poller = self.pollers[name]
        settings = poller.source.settings
        telemetry = self.telemetry.source(settings.provider, settings.name)
        now = self.clock.monotonic()
        for task, interval in poller.intervals.items():
            status = poller.status(task)
            last = status.last_attempt
            # A task that the former leader polled less than an interval ago waits for its slot.
            due = last is None or status.restored or now - last.monotonic >= interval
            self.schedule.add(
                telemetry,
                task,
                interval,
                partial(self._poll, poller, task),
                blocked=partial(self._blocked, poller, task),
                at_once=due,
            )

    async def _poll(self, poller: Poller, task: str) -> None:
        await poller.poll(task)
        self._first_polls.discard((poller.source.settings.name, task))

    def _blocked(self, poller: Poller, task: str) -> bool:
        # The guard also opens and closes between polls, so update its gauges here.
        poller.publish_health()
        if poller.source.blocked:
            poller.hold(task)
            self._first_polls.discard((poller.source.settings.name, task))
            return True
        return False


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Engine]:
    """Yield an engine with the sources of a configuration, and stop it at the end."""
    engine = Engine(state=settings.state, keeps=False, total_shards=settings.sharding.total_shards)
    try:
        await engine.connect(settings)
        await engine.beat()
        yield engine
    finally:
        await engine.end(grace_seconds=0)


async def _poll_once(poller: Poller) -> None:
    # The first task shows whether the vendor answers, and its inventory saves other tasks calls.
    # Then all others at once: a vendor that hangs costs one more time-out, not one per task.
    tasks = list(poller.intervals)
    for some in (tasks[:1], tasks[1:]):
        if poller.source.blocked:
            for task in some:
                poller.hold(task)
        else:
            await asyncio.gather(*(poller.poll(task) for task in some))


def _same_account(old: SourceSettings, new: SourceSettings) -> bool:
    return (old.provider, old.url) == (new.provider, new.url)
