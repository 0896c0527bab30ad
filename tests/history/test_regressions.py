"""Alerts about slow runs, judged on generated histories in which one slow run was planted."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from exporter.alerts.settings import AlertingSettings
from exporter.fleet.readings import Outcome, Suite, SuiteRun
from exporter.metrics import own
from exporter.metrics.telemetry import SelfMetrics
from exporter.overview.problems import Judge
from tests.history.feed import Feed


RUNS = 60

#: The usual variation of a run's duration.
LEAST, MOST = 0.85, 1.2


class Bench:
    """A suite whose polls are judged by the table of alerts."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        telemetry = SelfMetrics(clock=feed.clock.clock)
        telemetry[own.RELOAD_SUCCESSFUL].set(1)
        self.judge = Judge.of(AlertingSettings(), telemetry.registry)

    async def poll(self, **facts: object) -> set[str]:
        """Poll the suite, and return its problems."""
        before = self.feed.store.get("realload", "prod", "suites")
        suite = before.readings[0] if before else Suite(suite_id="3", suite="nightly")
        usual = self.feed.history.usual("prod")
        assert usual is not None
        await self.feed.put(usual.added_to(replace(suite, **facts)), task="suites")
        found = self.judge.judge(self.feed.store.snapshots(), self.feed.now)
        return {each.title for each in found}

    async def run(self, seconds: float, outcome: Outcome) -> set[str]:
        """Begin and end a run, and return the problems at any time of it."""
        run = SuiteRun(
            run_id=f"{self.feed.clock.unix}", start_timestamp_seconds=self.feed.clock.unix
        )
        self.feed.clock.shift(seconds - 1)
        # The problems of the run before last until this one ends.
        found = {"SuiteTooLong"} & await self.poll(running=True, current_run=run)
        self.feed.clock.shift(1)
        ended = replace(
            run,
            outcome=outcome,
            duration_seconds=seconds,
            end_timestamp_seconds=self.feed.clock.unix,
        )
        # Before and after its result is written.
        for _ in range(2):
            found |= await self.poll(running=False, current_run=None, last_run=ended)
            await self.feed.history.flush()
            await self.feed.history.compare()
            self.feed.clock.shift(60)
        return found


@pytest.mark.parametrize("seed", range(8))
async def test_the_planted_run_is_told_and_no_other(seed: int) -> None:
    """Only the planted slow run may alert, not the usual variation or a run that failed."""
    dice = Random(seed)  # noqa: S311 - repeatable, not secret
    bench = Bench(await Feed(None).begin())
    await bench.feed.history.compare()
    usual = dice.choice((150.0, 720.0, 5400.0))
    planted = dice.randrange(20, RUNS)
    told: dict[int, set[str]] = {}
    for number in range(RUNS):
        seconds, outcome = usual * dice.uniform(LEAST, MOST), Outcome.PASSED
        if number == planted:
            seconds *= dice.uniform(2.6, 4.0)
        elif dice.random() < 0.2:
            seconds, outcome = usual * dice.random(), dice.choice(list(Outcome)[1:])
        bench.feed.clock.shift(dice.uniform(600, 40_000))
        told[number] = await bench.run(seconds, outcome)

    slow = {number for number, found in told.items() if found & {"SuiteSlower", "SuiteTooLong"}}
    assert {planted} == slow
    assert {"SuiteSlower", "SuiteTooLong"} == told[planted]


async def test_a_suite_that_stays_slow_is_slow_no_longer() -> None:
    """A suite that stays slow must alert until the longer duration has become usual."""
    bench = Bench(await Feed(None).begin())
    await bench.feed.history.compare()
    for _ in range(20):
        await bench.run(720.0, Outcome.PASSED)

    told = [await bench.run(1440.0, Outcome.PASSED) for _ in range(20)]

    assert [*[{"SuiteSlower"}] * 11, *[set()] * 9] == told
