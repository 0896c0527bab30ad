"""The poller of a source: polls its tasks, stores the readings, counts and logs the outcomes.

No error of a poll reaches the schedule: if one source fails, only its own readings get old.
"""

from __future__ import annotations

import math
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec.structs import replace

from exporter.clock import Clock, Moment
from exporter.cooperative import collected
from exporter.errors import PollError, Reason
from exporter.fleet.changes import R, SinceByTarget, changes, dated
from exporter.fleet.kinds import BY_READING, Kind
from exporter.fleet.readings import Reading, SourceHealth, TaskHealth
from exporter.fleet.store import Snapshot
from exporter.fleet.usual import Usuals
from exporter.polling.doubt import Doubt, doubted, failure_of
from exporter.polling.expected import Expectations, Listed, counted, listed
from exporter.sources.base import Failure
from exporter.sources.plugins import check
from exporter.sources.registry import INSTALLED


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from exporter.fleet.changes import Since
    from exporter.fleet.store import Store
    from exporter.metrics.telemetry import SourceMetrics
    from exporter.sources.base import Poll, Source


#: The task of the snapshot with a source's own health; that snapshot never expires.
HEALTH = "source"

#: A task counts as rarely polled if its interval is over this many times the source's shortest.
RARELY = 5

#: A failure that persists is logged again after this long.
REPEAT_SECONDS = 900.0

#: How many targets missing in a truncated list keep the time of their last transition.
MAX_ABSENT = 10_000

#: How many changed targets one poll logs by name; of the rest it logs the number.
NAMED_CHANGES = 50


class TaskFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The first failure of a poll.

    Attributes:
        at: When the poll ended.
        message: One sentence by the exporter, without secrets.
    """

    at: Moment
    reason: Reason
    message: str


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of the polls of a task.

    Attributes:
        last_attempt: When the newest poll ended.
        last_success: When the newest poll without any failure ended.
        failure: The newest failure, also if a poll has succeeded since.
        answered: Whether the newest poll brought readings, also with a doubted or incomplete list.
        health: The health by the newest poll; `None` before the first poll.
        restored: Whether the newest poll was before a restart.
        slow: Whether the vendor was too slow to answer calls of the newest poll in time.
        elsewhere: The kinds of targets that other shards poll, by the newest complete list.
    """

    health: TaskHealth | None = None
    last_attempt: Moment | None = None
    last_success: Moment | None = None
    failure: TaskFailure | None = None
    answered: bool = False
    restored: bool = False
    slow: bool = False
    elsewhere: tuple[Kind, ...] = ()


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a task that outlives its poller and, saved in the state, the process.

    Attributes:
        snapshot: The newest snapshot, also if it has expired.
        since: The time since when each target is up or down.
        doubt: The doubt about the newest inventory, also if it is over.
        listed: When each kind last had targets in a list.
    """

    snapshot: Snapshot
    status: TaskStatus = TaskStatus()
    since: SinceByTarget = MappingProxyType({})
    doubt: Doubt | None = None
    listed: tuple[Listed, ...] = ()


class Poller:
    """The polls of one source and their results.

    Attributes:
        kept: The data of each task.
    """

    def __init__(  # noqa: PLR0913 - all but the source by keyword
        self,
        source: Source,
        *,
        intervals: Mapping[str, float],
        store: Store,
        telemetry: SourceMetrics,
        clock: Clock,
        kinds: Mapping[str, tuple[Kind, ...]] = MappingProxyType({}),
        shows_health: bool = True,
        kept: Mapping[str, Kept] = MappingProxyType({}),
        keep: Callable[[Kept], Awaitable[None]] | None = None,
        told: Callable[[], None] = lambda: None,
        usual: Callable[[str], Usuals | None] = lambda _: Usuals(),
    ) -> None:
        """Create the poller of a source.

        Args:
            source: The source to poll.
            intervals: Seconds between the polls of each task of this process.
            store: Receives the snapshots.
            telemetry: Counts the polls.
            clock: The source of time.
            kinds: The kinds of targets that each task lists.
            shows_health: Whether to show the source's health: one of the shards that share a source
                shows it.
            kept: The data of the tasks from before a restart or a reload.
            keep: Saves the data of a task; called after each poll that brought a snapshot.
            told: Called after each poll and each skipped poll.
            usual: Returns the usual figures of a source's targets. While it returns `None`, the
                figures of the last poll stay.
        """
        self.source = source
        self.intervals = intervals
        self._kinds = kinds
        self._shows_health = shows_health
        self._settings = source.settings
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.poll").bind(
            provider=self._settings.provider, source=self._settings.name
        )
        self.kept: dict[str, Kept] = dict(kept)
        self._keep = keep
        self._status: dict[str, TaskStatus] = {task: each.status for task, each in kept.items()}
        self._logged: dict[str, tuple[Reason, float]] = {}
        self._health: SourceHealth | None = None
        self._shown: tuple[Reading, ...] = ()
        #: Whether the leader's credentials were refused; `None` once this process has polled.
        self._refused: bool | None = None
        self._expectations = Expectations(
            self._settings.include, telemetry=telemetry, log=self._log
        )
        self._told = told
        self._usual = usual
        telemetry.refusals.set_function(lambda: self.source.refusals)
        self.publish_health()

    @property
    def up(self) -> bool:
        """True if the newest poll of at least one task brought readings.

        Rarely polled tasks do not count: their newest poll can be older than an outage.
        """
        often = RARELY * min(self.intervals.values(), default=0.0)
        known = (self.status(task) for task, each in self.intervals.items() if each <= often)
        return any(each.answered or (each.health and each.health.up) for each in known)

    @property
    def stands_by(self) -> bool:
        """True while this process shows the polls of a leader."""
        return self._refused is not None

    @property
    def unreached(self) -> bool:
        """True if this process's polls bring no readings, not because of the credentials."""
        known = [self.status(task).health for task in self.intervals]
        return not self.stands_by and any(known) and not self.up and not self.auth_failed

    @property
    def auth_failed(self) -> bool:
        """True while calls are blocked because the vendor refused the credentials."""
        return self.source.auth_failed if self._refused is None else self._refused

    @property
    def certificate_end(self) -> float | None:
        """The expiry of the vendor's server certificate, in Unix seconds; `None` without one."""
        return self._telemetry.certificate_end

    @property
    def slow(self) -> bool:
        """True if the vendor is too slow to answer calls of any task in time."""
        return any(self.status(task).slow for task in self.intervals)

    def status(self, task: str) -> TaskStatus:
        """Return the outcome of a task's polls."""
        return self._status.get(task, TaskStatus())

    def hold(self, task: str) -> None:
        """Note that a poll of a task was skipped because calls are blocked."""
        self._refused = None
        self._note_health(task, up=False, answered=False)
        self.publish_health()
        self._told()

    def mirror(
        self,
        statuses: Mapping[str, TaskStatus],
        kept: Mapping[str, Kept],
        *,
        refused: bool,
        certificate_end: float | None = None,
    ) -> None:
        """Show the results of the leader's polls.

        Args:
            statuses: The outcomes of the leader's polls, by task.
            kept: The new data of tasks, by task.
            refused: Whether the credentials were refused.
            certificate_end: The expiry of the vendor's server certificate, in Unix seconds.
        """
        if certificate_end is not None:
            self._telemetry.certificate_ends(certificate_end)
        self._refused = refused
        for task in self.intervals & statuses.keys():
            self._status[task] = status = statuses[task]
            self._telemetry.restored(task, attempt=status.last_attempt, success=status.last_success)
            if task in kept or task in self.kept:
                self.kept[task] = replace(kept.get(task) or self.kept[task], status=status)
            if task in kept:
                snapshot = kept[task].snapshot.aged(self._clock.monotonic())
                if snapshot is not None:
                    self._store.put(replace(snapshot, restored=status.restored))
            if status.health is not None:
                self._expectations.check(status.health.targets, status.elsewhere)
        self._telemetry.vendor_slow.set(self.slow)
        self.publish_health()

    async def poll(self, task: str) -> None:
        """Poll a task once; raises nothing but `CancelledError`."""
        started = self._clock.monotonic()
        kept: Kept | None = None
        try:
            poll = await self.source.poll(task)
            if self._settings.provider in INSTALLED:
                check(poll)
        except PollError as error:
            failures = [Failure(reason=error.reason, message=str(error))]
        except Exception:  # noqa: BLE001 - a bug must not end the schedule
            self._log.exception("poll_crashed", task=task)
            message = "the poll ended in an unexpected error, see the log"
            failures = [Failure(reason=Reason.DECODE, message=message)]
        else:
            targets = counted(poll, self._kinds.get(task, ()))
            took = self._clock.monotonic() - started
            kept = await self._show(task, poll, targets, seconds=took)
            failures = _grouped((*poll.failures, *self._judge(task, poll, targets, kept)))
        # This process has polled itself, so its own guard knows whether the credentials are good.
        self._refused = None
        ended = self._clock.now()
        self._telemetry.polled(
            task,
            seconds=ended.monotonic - started,
            at=ended,
            failures=[each.reason for each in failures],
        )
        if kept is None:
            self._note_health(task, up=False, answered=False)
        self._note(task, failures, ended)
        if kept is not None:
            self.kept[task] = kept = replace(kept, status=self.status(task))
        self.publish_health()
        if kept is not None and self._keep is not None:
            await self._keep(kept)
        self._told()

    def publish_health(self) -> None:
        """Put the health of the source and of its tasks in the store, if it changed."""
        health = SourceHealth(up=self.up, auth_failed=self.auth_failed)
        if health != self._health:
            if self._health is not None:
                self._log_health(self._health, health)
            self._health = health
            self._telemetry.breaker.set(self.source.blocked)
        own = (health,) if self._shows_health else ()
        tasks = tuple(self._tasks_health())
        shown: tuple[Reading, ...] = (*own, *tasks)
        if shown != self._shown:
            self._shown = shown
            self._store.put(self._snapshot(HEALTH, shown, stale_after=math.inf))
        now = self._clock.now()
        for each in tasks:
            kinds, kept = self._kinds.get(each.task, ()), self.kept.get(each.task)
            self._expectations.show(each.task, kinds, kept.listed if kept else (), now)

    def _tasks_health(self) -> Iterator[TaskHealth]:
        for status in map(self.status, self.intervals):
            if status.health is None:
                continue
            failure = None if status.health.up else status.failure
            yield replace(status.health, reason=failure.reason if failure else None)

    def _note_health(
        self,
        task: str,
        *,
        up: bool,
        answered: bool,
        targets: Mapping[str, float] | None = None,
    ) -> None:
        """Note whether a task's newest poll brought readings; by default the old `targets` stay."""
        status = self.status(task)
        if targets is None:
            targets = status.health.targets if status.health else {}
        health = TaskHealth(task=task, up=up, targets=targets)
        self._status[task] = replace(status, health=health, answered=answered)

    def _judge(
        self, task: str, poll: Poll, targets: Mapping[str, float], kept: Kept
    ) -> Iterator[Failure]:
        """Note the source's health after a poll; yield a failure if its inventory is doubted."""
        self._status[task] = replace(self.status(task), slow=poll.vendor_slow)
        self._telemetry.vendor_slow.set(self.slow)
        is_doubted = kept.doubt is not None and not kept.doubt.over
        whole = not is_doubted and not poll.cut
        self._note_health(task, up=poll.asked and whole, answered=poll.asked, targets=targets)
        if not poll.cut:
            elsewhere = tuple(kind for kind, count in poll.elsewhere.items() if count)
            self._status[task] = replace(self.status(task), elsewhere=elsewhere)
            self._expectations.check(targets, elsewhere)
        if is_doubted:
            self._telemetry.surprise("incomplete_list")
            yield failure_of(poll)

    def dated(self, reading: R) -> R:
        """Return a reading of `explain` with its last transition and its usual figures."""
        kind = BY_READING.get(type(reading))
        kept = self.kept.get(kind.task) if kind is not None else None
        usual = self._usuals(kept.snapshot.readings if kept is not None else ())
        return usual.added_to(dated(reading, kept.since if kept is not None else {}, {}))

    def show(self, *readings: Reading) -> None:
        """Expose the readings of one target that came from `explain`."""
        self._store.put(self._snapshot("explained", readings, stale_after=math.inf))
        self.publish_health()

    async def _show(
        self, task: str, poll: Poll, targets: Mapping[str, float], *, seconds: float
    ) -> Kept:
        """Put the readings of a poll in the store, log the changes, and return the data to keep."""
        settings = self._settings
        before = self._store.get(settings.provider, settings.name, task)
        # A poll that overruns publishes its first result `overtime` late, and so does the next.
        overtime = max(0.0, seconds - self.intervals[task])
        stale_after = settings.stale_after_for(task) + 2 * overtime
        # A state that a source carries over from earlier polls expires like a snapshot.
        not_before = self._clock.monotonic() - stale_after
        kept = self.kept.get(task)
        known = kept.since if kept else {}
        shown = kept.snapshot.readings if kept else ()
        found, doubt = doubted(
            poll,
            shown,
            kept.doubt if kept else None,
            self._clock.now(),
        )
        since: dict[tuple[Kind, str], Since] = {}
        usual = self._usuals(shown)
        readings = tuple(
            await collected(
                usual.added_to(dated(reading.fresh(not_before=not_before), known, since))
                for reading in found
            )
        )
        if poll.cut:
            # Targets missing in a truncated list still exist.
            absent = [key for key in known if key not in since][-MAX_ABSENT:]
            since |= {key: known[key] for key in absent}
        snapshot = self._snapshot(task, readings, stale_after=stale_after, memory=poll.memory)
        self._store.put(snapshot)
        old = before.readings if before else ()
        changed = [change async for change in changes(old, readings)]
        for change in changed[:NAMED_CHANGES]:
            self._log.info(
                f"{change.kind}_{change.what}",
                id=change.target_id,
                name=change.target,
                **({"reason": change.reason} if change.reason else {}),
            )
        if len(changed) > NAMED_CHANGES:
            self._log.info("more_changes", task=task, count=len(changed) - NAMED_CHANGES)
        newest = listed(task, targets, kept.listed if kept else (), snapshot.taken)
        return Kept(snapshot=snapshot, since=since, doubt=doubt, listed=newest)

    def _usuals(self, before: Sequence[Reading]) -> Usuals:
        usual = self._usual(self._settings.name)
        return Usuals.of(before) if usual is None else usual

    def _snapshot(
        self, task: str, readings: tuple[Reading, ...], *, stale_after: float, memory: bytes = b""
    ) -> Snapshot:
        return Snapshot(
            provider=self._settings.provider,
            source=self._settings.name,
            task=task,
            readings=readings,
            taken=self._clock.now(),
            stale_after=stale_after,
            labels=self._settings.labels,
            memory=memory,
        )

    def _note(self, task: str, failures: Sequence[Failure], now: Moment) -> None:
        known = replace(self.status(task), restored=False)
        if not failures:
            self._status[task] = replace(known, last_attempt=now, last_success=now)
            if self._logged.pop(task, None) is not None:
                self._log.info("poll_recovered", task=task)
            return
        first = failures[0]
        failure = TaskFailure(at=now, reason=first.reason, message=first.message)
        self._status[task] = replace(known, last_attempt=now, failure=failure)
        logged_reason, logged_at = self._logged.get(task, (None, 0.0))
        if logged_reason is not first.reason or now.monotonic - logged_at >= REPEAT_SECONDS:
            self._logged[task] = (first.reason, now.monotonic)
            for each in failures:
                self._log.warning(
                    "poll_failed", task=task, reason=each.reason.value, message=each.message
                )

    def _log_health(self, before: SourceHealth, now: SourceHealth) -> None:
        if before.up != now.up:
            if now.up:
                self._log.info("source_up")
            else:
                self._log.warning("source_down")
        if before.auth_failed != now.auth_failed:
            if now.auth_failed:
                self._log.error(
                    "credentials_refused",
                    message="no further call until auth_retry has passed or the secret changes,"
                    f" {self._settings.LOCKOUT.explanation}",
                )
            else:
                self._log.info("credentials_tried_again")


def _grouped(failures: Sequence[Failure]) -> list[Failure]:
    """Return the first failure of each reason, with the number of further failed calls."""
    counts = Counter(failure.reason for failure in failures)
    firsts = {failure.reason: failure for failure in reversed(failures)}
    return [
        replace(firsts[reason], message=f"{firsts[reason].message} (and {number - 1} more calls)")
        if number > 1
        else firsts[reason]
        for reason, number in counts.items()
    ]
