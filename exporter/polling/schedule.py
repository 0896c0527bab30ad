"""The schedule: one APScheduler job per source and task.

The phase of a job is a hash of its source and task, spread over the interval. So tasks do not all
start together, and a restart keeps their times. There is no jitter, because APScheduler adds it to
the previous fire time, which stretches a period of 60 s to 70 s. The source's telemetry counts
skipped polls: the previous poll still ran, the process was too busy to start it in time, or the
source's calls were blocked.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from apscheduler.events import (
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from exporter.clock import SYSTEM_CLOCK, Clock


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.metrics.telemetry import SourceMetrics


#: A poll that would start later than this share of its interval is skipped.
MISFIRE_GRACE_RATIO = 0.5

#: If the wall clock jumps further than this, the schedule moves with it.
CLOCK_STEP_SECONDS = 5.0


def phase(source: str, task: str, interval_seconds: float) -> float:
    """Return the offset of a task's slots within its interval, in seconds.

    The offset is the same after every start and on every machine.
    """
    digest = hashlib.sha256(f"{source}\0{task}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * interval_seconds


class SlotTrigger(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """A trigger that fires at `phase` of every interval, counted from the Unix epoch.

    A job's first run happens at once. A slot within half an interval after it is skipped.
    """

    def __init__(self, interval_seconds: float, phase_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self.phase_seconds = phase_seconds

    def slot(self, timestamp: float) -> int:
        """Return the number of the newest slot at a Unix time."""
        return math.floor((timestamp - self.phase_seconds) / self.interval_seconds)

    def lateness(self, timestamp: float) -> float:
        """Return the seconds between the newest slot and a Unix time."""
        return (timestamp - self.phase_seconds) % self.interval_seconds

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the next slot after the previous run; before the first run, after now."""
        after = (previous_fire_time or now).timestamp()
        if previous_fire_time is not None and self.lateness(after) > _ON_TIME_SECONDS:
            after += self.interval_seconds / 2
        slot = self.slot(after) + 1
        if previous_fire_time is not None:
            # APScheduler asks for one slot after the other until it reaches the present. If a
            # machine's clock is set from 1970 to today, that would take minutes.
            slot = max(slot, self.slot(now.timestamp()))
        start = slot * self.interval_seconds + self.phase_seconds
        # A time rounded to microseconds can lie just before its own slot.
        if start - after < _ON_TIME_SECONDS:
            start += self.interval_seconds
        return datetime.fromtimestamp(start, tz=UTC)


#: Tolerance for fire times, which APScheduler rounds to microseconds.
_ON_TIME_SECONDS = 1e-4


@dataclass(slots=True)
class _Job:
    """One job while it is scheduled."""

    task: str
    trigger: SlotTrigger
    telemetry: SourceMetrics
    run: Callable[[], Awaitable[None]]
    blocked: Callable[[], bool]
    first: bool = True
    newest_slot: int | None = None


class Schedule:
    """The jobs of all sources."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._skew = clock.time() - clock.monotonic()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1}
        )
        self._scheduler.add_listener(
            self._on_event, EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED
        )

    @property
    def running(self) -> bool:
        """True between `start` and `stop`."""
        return bool(self._scheduler.running)

    def start(self) -> None:
        """Start the schedule; needs a running event loop."""
        self._scheduler.start()

    def add(  # noqa: PLR0913 - the last two by keyword
        self,
        telemetry: SourceMetrics,
        task: str,
        interval_seconds: float,
        run: Callable[[], Awaitable[None]],
        *,
        blocked: Callable[[], bool],
        at_once: bool = True,
    ) -> None:
        """Schedule a task in each of its slots.

        Args:
            telemetry: Counts the polls of the source.
            task: The name of the task.
            interval_seconds: Time between two slots.
            run: Runs the task; must not raise.
            blocked: Returns whether to skip a run, because the source's calls are blocked.
            at_once: Whether to run the task at once, too.
        """
        trigger = SlotTrigger(interval_seconds, phase(telemetry.name, task, interval_seconds))
        key = _key(telemetry.name, task)
        telemetry.declare_task(task, interval_seconds)
        self._jobs[key] = _Job(task, trigger, telemetry, run, blocked, first=at_once)
        now = self._now()
        self._scheduler.add_job(
            self._run,
            trigger,
            args=(key,),
            id=key,
            name=f"{telemetry.name}/{task}",
            next_run_time=now if at_once else trigger.get_next_fire_time(None, now),
            misfire_grace_time=max(1, math.ceil(interval_seconds * MISFIRE_GRACE_RATIO)),
            replace_existing=True,
        )

    async def remove(self, source: str, task: str) -> None:
        """Remove a task and cancel its run in progress."""
        key = _key(source, task)
        self._jobs.pop(key, None)
        if self._scheduler.get_job(key) is not None:
            self._scheduler.remove_job(key)
        await self._drain([self._running[key]] if key in self._running else [], 0.0)

    async def stop(self, *, grace_seconds: float) -> None:
        """Stop the schedule; runs in progress are cancelled after the grace period."""
        if self._scheduler.running:
            self._scheduler.pause()
        await self._drain(list(self._running.values()), grace_seconds)
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def realign(self) -> bool:
        """Move the slots if the wall clock was set; call this regularly.

        APScheduler waits for a wall-clock time. After a step backwards it would run no task until
        that time comes again.

        Returns:
            Whether the clock was set.
        """
        if not self._clock_was_set():
            return False
        self._skew = self._clock.time() - self._clock.monotonic()
        for key, job in self._jobs.items():
            job.newest_slot = job.trigger.slot(self._clock.time() + _ON_TIME_SECONDS)
            self._scheduler.modify_job(
                key, next_run_time=job.trigger.get_next_fire_time(None, self._now())
            )
        return True

    def _clock_was_set(self) -> bool:
        skew = self._clock.time() - self._clock.monotonic()
        return abs(skew - self._skew) >= CLOCK_STEP_SECONDS

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), tz=UTC)

    async def _run(self, key: str) -> None:
        job = self._jobs.get(key)
        task = asyncio.current_task()
        if job is None or task is None:
            return
        if job.first:
            job.first = False
        else:
            job.telemetry.late(job.task, job.trigger.lateness(self._clock.time()))
        if job.blocked():
            job.telemetry.skipped(job.task, "blocked")
            return
        self._running[key] = task
        try:
            await job.run()
        except asyncio.CancelledError as error:
            # Not re-raised, because the task ends here anyway. APScheduler and asyncio's task
            # groups would hold the error, and with it all variables of the run, in reference cycles
            # until the next garbage collection.
            traceback.clear_frames(error.__traceback__)
        finally:
            del self._running[key]

    def _on_event(self, event: JobSubmissionEvent | JobExecutionEvent) -> None:
        job = self._jobs.get(event.job_id)
        if job is None:
            return
        if event.code == EVENT_JOB_MISSED:
            job.telemetry.skipped(job.task, "missed")
            return
        if event.code == EVENT_JOB_MAX_INSTANCES:
            job.telemetry.skipped(job.task, "running")
        # Slots that were merged into one by `coalesce` leave a gap.
        fired = event.scheduled_run_times[-1]
        slot = job.trigger.slot(fired.timestamp() + _ON_TIME_SECONDS)
        if job.newest_slot is None:
            # The first run is between slots, and the slot after it can be skipped on purpose.
            following = job.trigger.get_next_fire_time(fired, fired)
            slot = job.trigger.slot(following.timestamp() + _ON_TIME_SECONDS) - 1
        elif not self._clock_was_set():
            job.telemetry.skipped(job.task, "missed", count=max(0, slot - job.newest_slot - 1))
        job.newest_slot = slot

    @staticmethod
    async def _drain(tasks: list[asyncio.Task[None]], grace_seconds: float) -> None:
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _key(source: str, task: str) -> str:
    return f"{source}\0{task}"
