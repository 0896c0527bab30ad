from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from apscheduler.events import (
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.telemetry import SelfMetrics, SourceMetrics
from exporter.polling.schedule import Schedule, SlotTrigger, phase
from tests.support.clock import FakeClock
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


EPOCH = 1_700_000_000.0


def at(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, tz=UTC)


class TestPhase:
    def test_it_is_the_same_every_time(self) -> None:
        """A restart must not change when a task is polled."""
        first = phase("prod", "agents", 60.0)

        assert first == phase("prod", "agents", 60.0)

    def test_tasks_are_spread(self) -> None:
        """The tasks of a source must not all start together."""
        phases = {phase("prod", f"task{number}", 60.0) for number in range(100)}

        assert min(phases) < 10
        assert max(phases) > 50

    @given(st.text(), st.text(), st.floats(0.1, 1e6))
    def test_it_lies_within_the_interval(self, source: str, task: str, interval: float) -> None:
        """A phase beyond the interval would be another slot's."""
        assert 0 <= phase(source, task, interval) < interval


class TestSlotTrigger:
    def test_slots_are_one_interval_apart(self) -> None:
        """Slots must be exactly one interval apart, without drift."""
        trigger = SlotTrigger(60.0, 12.3)
        fire = trigger.get_next_fire_time(None, at(EPOCH))
        first = fire.timestamp()

        for _ in range(1000):
            fire = trigger.get_next_fire_time(fire, fire)

        assert 60_000 == pytest.approx(fire.timestamp() - first, abs=1e-3)

    @given(st.floats(0.05, 86_400), st.floats(0, 0.999), st.floats(0, 1e5))
    def test_the_next_slot_follows_a_run_by_half_to_one_and_a_half_intervals(
        self, interval: float, share: float, offset: float
    ) -> None:
        """A first run between slots must be followed neither at once nor too late."""
        trigger = SlotTrigger(interval, interval * share)
        run = at(EPOCH + offset)

        gap = (trigger.get_next_fire_time(run, run) - run).total_seconds()

        assert interval / 2 - 1e-3 <= gap <= interval * 1.5 + 1e-3

    def test_it_catches_up_at_once(self) -> None:
        """A clock that is set from 1970 to today must not cost a step for every slot between."""
        trigger = SlotTrigger(60.0, 12.3)

        newest = trigger.get_next_fire_time(at(60 + 12.3), at(EPOCH))

        assert 0 <= EPOCH - newest.timestamp() < 60
        assert 0 < (trigger.get_next_fire_time(newest, at(EPOCH)) - at(EPOCH)).total_seconds() <= 60


@pytest.fixture
def telemetry() -> SourceMetrics:
    return SelfMetrics().source("realload", "prod")


def skipped(telemetry: SourceMetrics, reason: str) -> float:
    value = telemetry._metrics.registry.get_sample_value(
        "loadfleet_exporter_schedule_skipped_total",
        {"provider": "realload", "source": "prod", "task": "agents", "reason": reason},
    )
    assert value is not None
    return value


def lateness_count(telemetry: SourceMetrics) -> float | None:
    return telemetry._metrics.registry.get_sample_value(
        "loadfleet_exporter_schedule_lateness_seconds_count",
        {"provider": "realload", "source": "prod", "task": "agents"},
    )


@pytest.fixture
async def schedule() -> AsyncIterator[Schedule]:
    schedule = Schedule()
    schedule.start()
    yield schedule
    await schedule.stop(grace_seconds=0)


class TestSchedule:
    async def test_a_task_runs_at_once_and_again(
        self, schedule: Schedule, telemetry: SourceMetrics
    ) -> None:
        """A task must run at once, and then in every slot."""
        runs: asyncio.Queue[None] = asyncio.Queue()

        schedule.add(telemetry, "agents", 0.1, lambda: runs.put(None), blocked=lambda: False)

        for _ in range(3):
            await asyncio.wait_for(runs.get(), 10)
        assert (lateness_count(telemetry) or 0) >= 1

    async def test_a_slot_that_finds_the_task_running_is_counted(
        self, schedule: Schedule, telemetry: SourceMetrics
    ) -> None:
        """A poll that overruns must not be joined by a second one, and not silently."""
        started: list[None] = []
        end = asyncio.Event()

        async def overrun() -> None:
            started.append(None)
            await end.wait()

        schedule.add(telemetry, "agents", 0.05, overrun, blocked=lambda: False)
        await until(lambda: skipped(telemetry, "running") >= 2)

        assert 1 == len(started)
        end.set()

    async def test_a_blocked_task_is_counted_and_not_run(
        self, schedule: Schedule, telemetry: SourceMetrics
    ) -> None:
        """While the breaker is open the source must be left alone, visibly."""
        runs: list[None] = []

        async def run() -> None:
            runs.append(None)

        schedule.add(telemetry, "agents", 0.05, run, blocked=lambda: True)
        await until(lambda: skipped(telemetry, "blocked") >= 2)

        assert [] == runs

    async def test_merged_slots_are_counted_as_missed(
        self, schedule: Schedule, telemetry: SourceMetrics
    ) -> None:
        """A process that was held up must tell how many polls that cost."""
        schedule.add(telemetry, "agents", 3600.0, _nothing, blocked=lambda: False)
        first = EPOCH - EPOCH % 3600 + phase("prod", "agents", 3600.0)
        for fired in (first, first + 3600, first + 4 * 3600):
            schedule._on_event(
                JobSubmissionEvent(EVENT_JOB_SUBMITTED, "prod\0agents", None, [at(fired)])
            )

        assert 2 == skipped(telemetry, "missed")

    async def test_slots_that_a_set_clock_skips_are_not_missed(
        self, telemetry: SourceMetrics
    ) -> None:
        """Slots that a set clock skips must not count as missed."""
        fake = FakeClock()
        schedule = Schedule(clock=fake.clock)
        schedule.add(telemetry, "agents", 3600.0, _nothing, blocked=lambda: False)
        first = EPOCH - EPOCH % 3600 + phase("prod", "agents", 3600.0)
        fake.unix += 50 * 365 * 86_400
        for fired in (first, first + 3600 * 438_000):
            schedule._on_event(
                JobSubmissionEvent(EVENT_JOB_SUBMITTED, "prod\0agents", None, [at(fired)])
            )

        assert 0 == skipped(telemetry, "missed")

    async def test_a_run_past_its_grace_is_counted_as_missed(
        self, schedule: Schedule, telemetry: SourceMetrics
    ) -> None:
        """APScheduler leaves it out without a word; the counter says it."""
        schedule.add(telemetry, "agents", 3600.0, _nothing, blocked=lambda: False)

        schedule._on_event(JobExecutionEvent(EVENT_JOB_MISSED, "prod\0agents", None, at(EPOCH)))

        assert 1 == skipped(telemetry, "missed")

    async def test_events_of_a_removed_task_are_ignored(
        self, schedule: Schedule, telemetry: SourceMetrics
    ) -> None:
        """An event can come after the job has gone."""
        schedule.add(telemetry, "agents", 3600.0, _nothing, blocked=lambda: False)
        await schedule.remove("prod", "agents")

        schedule._on_event(
            JobSubmissionEvent(EVENT_JOB_MAX_INSTANCES, "prod\0agents", None, [at(EPOCH)])
        )

        assert 0 == skipped(telemetry, "running")

    async def test_stop_cancels_what_outlasts_the_grace(self, telemetry: SourceMetrics) -> None:
        """A call that hangs must not keep the process from ending."""
        schedule = Schedule()
        schedule.start()
        started = asyncio.Event()
        ends: list[str] = []

        async def hang() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        schedule.add(telemetry, "agents", 60.0, hang, blocked=lambda: False)
        await asyncio.wait_for(started.wait(), 10)
        await schedule.stop(grace_seconds=0.01)

        assert ["cancelled"] == ends

    async def test_removing_a_task_lets_others_run(
        self, schedule: Schedule, telemetry: SourceMetrics
    ) -> None:
        """A reload that drops one task must not touch the rest."""
        runs: asyncio.Queue[None] = asyncio.Queue()
        schedule.add(telemetry, "agents", 0.05, lambda: runs.put(None), blocked=lambda: False)
        schedule.add(telemetry, "suites", 0.05, _nothing, blocked=lambda: False)

        await schedule.remove("prod", "suites")

        await asyncio.wait_for(runs.get(), 10)
        await asyncio.wait_for(runs.get(), 10)


class TestRealign:
    async def test_a_clock_set_back_moves_the_slots(self, telemetry: SourceMetrics) -> None:
        """Polling must not pause until the old time comes again."""
        fake = FakeClock()
        schedule = Schedule(clock=fake.clock)
        schedule.add(telemetry, "agents", 60.0, _nothing, blocked=lambda: False)

        fake.unix -= 7200
        moved = schedule.realign()

        assert moved
        (job,) = schedule._scheduler.get_jobs()
        assert 0 < job.next_run_time.timestamp() - fake.unix <= 60

    async def test_a_steady_clock_changes_nothing(self, telemetry: SourceMetrics) -> None:
        """The slots of a clock that is merely disciplined stay."""
        fake = FakeClock()
        schedule = Schedule(clock=fake.clock)
        schedule.add(telemetry, "agents", 60.0, _nothing, blocked=lambda: False)

        fake.shift(1000)
        fake.unix += 0.2

        assert not schedule.realign()


async def _nothing() -> None:
    pass
