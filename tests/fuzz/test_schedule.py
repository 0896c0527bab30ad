"""The schedule through any order of waiting, overruns, hold-ups, blockages and clock steps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, tzinfo
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from exporter.metrics.telemetry import SelfMetrics
from exporter.polling.schedule import CLOCK_STEP_SECONDS, Schedule, SlotTrigger, phase
from tests.support.clock import FakeClock, settle


REASONS = ("running", "blocked", "missed")


class ScheduleMachine(RuleBasedStateMachine):
    """A task scheduled by APScheduler itself.

    Attributes:
        base: The newest slot before those that count.
        counted: The number of runs counted before.
        newest: The latest wall-clock time since then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.time = FakeClock(unix=1_700_000_000.0)
        self.runner = asyncio.Runner()
        # APScheduler reads the wall clock by itself; it has no parameter for it.
        reader = mock.Mock(wraps=datetime, now=self._datetime)
        self.patches = [
            mock.patch(f"apscheduler.{module}.datetime", reader)
            for module in ("schedulers.base", "executors.base")
        ]
        for patch in self.patches:
            patch.start()
        self.telemetry = SelfMetrics(clock=self.time.clock)
        self.interval = 0.0
        self.runs = self.running = self.most_running = 0
        self.blocked = False
        self.gate = asyncio.Event()
        self.gate.set()

    def teardown(self) -> None:
        """Stop, which must end also what hangs."""
        self.runner.run(self.schedule.stop(grace_seconds=0))
        self.runner.close()
        for patch in self.patches:
            patch.stop()
        assert self.running == 0

    @initialize(interval=st.sampled_from([7.0, 60.0, 600.0]), into=st.floats(0, 600))
    def begin(self, interval: float, into: float) -> None:
        """Start anywhere in an interval."""
        self.interval = interval
        self.time.shift(into)
        self.trigger = SlotTrigger(interval, phase("prod", "agents", interval))
        self.schedule = Schedule(clock=self.time.clock)
        self.runner.run(self._begin())
        following = self.trigger.get_next_fire_time(self._datetime(UTC), self._datetime(UTC))
        self.counted = 1  # the first run is between slots
        self.base = self.trigger.slot(following.timestamp() + 1e-3) - 1
        self.newest = self.time.unix
        self._look()

    @rule(share=st.floats(0, 3))
    def wait(self, share: float) -> None:
        """Let time pass while the loop turns."""
        end = self.time.unix + share * self.interval
        while (due := self._due()) <= end:
            self._pass(max(0.0, due - self.time.unix))
            self._look()
        self._pass(end - self.time.unix)
        self._look()

    @rule(share=st.floats(0, 30))
    def hold_up(self, share: float) -> None:
        """Let time pass while the loop is stuck."""
        self._pass(share * self.interval)
        self._look()

    @precondition(lambda self: self.gate.is_set())
    @rule()
    def hang(self) -> None:
        """Let runs take for ever from now on."""
        self.gate.clear()

    @rule()
    def let_go(self) -> None:
        """Let the present run end."""
        self.gate.set()
        self.runner.run(settle())

    @rule(blocked=st.booleans())
    def block(self, blocked: bool) -> None:
        """Let runs be left out, or no longer."""
        self.blocked = blocked

    @rule(
        seconds=st.floats(-4, 4)
        | st.floats(-1e6, 1e6)
        | st.sampled_from([56 * 365.25 * 86_400, -20 * 365.25 * 86_400]),
        woken_first=st.booleans(),
    )
    def set_clock(self, seconds: float, woken_first: bool) -> None:
        """Set the wall clock; APScheduler may wake before or after that is noticed."""
        self.time.unix += seconds
        self.newest = max(self.newest, self.time.unix)
        if woken_first:
            self.runner.run(self._wake())
        self._look()

    @invariant()
    def no_two_run_at_once(self) -> None:
        """A poll that overruns is not joined by a second one."""
        assert self.most_running <= 1

    @invariant()
    def the_next_slot_is_near(self) -> None:
        """The next poll must start within one and a half intervals, whatever the clock did."""
        wait = self._due() - self.time.unix
        assert -1e-3 <= wait <= 1.5 * self.interval + CLOCK_STEP_SECONDS + 1e-3

    @invariant()
    def every_slot_is_accounted_for(self) -> None:
        """A slot leads to a run or is counted as left out, once."""
        slots = self.trigger.slot(self.newest + 1e-3) - self.base
        assert self.counted + max(0, slots) == self._counted()

    async def _begin(self) -> None:
        self.schedule.start()
        self.schedule.add(
            self.telemetry.source("realload", "prod"),
            "agents",
            self.interval,
            self._run,
            blocked=lambda: self.blocked,
        )
        await self._wake()

    async def _run(self) -> None:
        self.runs += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1

    async def _wake(self) -> None:
        self.schedule._scheduler._process_jobs()
        await settle(10)

    def _look(self) -> None:
        """Do what the daemon's housekeeping and APScheduler's timer do."""

        async def look() -> bool:
            return self.schedule.realign()

        if self.runner.run(look()):
            self.newest = self.time.unix
            self.base = self.trigger.slot(self.newest)
            self.counted = self._counted()
        self.runner.run(self._wake())

    def _pass(self, seconds: float) -> None:
        self.time.shift(seconds)
        self.newest = max(self.newest, self.time.unix)

    def _due(self) -> float:
        (job,) = self.schedule._scheduler.get_jobs()
        due: float = job.next_run_time.timestamp()
        return due

    def _datetime(self, zone: tzinfo) -> datetime:
        return datetime.fromtimestamp(self.time.unix, tz=zone)

    def _counted(self) -> int:
        labels = {"provider": "realload", "source": "prod", "task": "agents"}
        values = (
            self.telemetry.registry.get_sample_value(
                "loadfleet_exporter_schedule_skipped_total", {**labels, "reason": reason}
            )
            for reason in REASONS
        )
        return self.runs + int(sum(value or 0 for value in values))


def test_schedule() -> None:
    """No slot is lost or doubled, whatever happens to the process and its clock."""
    run_state_machine_as_test(
        ScheduleMachine, settings=settings(deadline=None, max_examples=settings().max_examples // 4)
    )
