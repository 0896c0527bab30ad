"""A faulty source does not change the readings and the schedule of other sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.clock import SYSTEM_CLOCK
from exporter.conformance.front import instead
from exporter.conformance.stalls import undisturbed
from exporter.conformance.trial import Trial, accused, select
from exporter.conformance.vendor import Step, hang, reset
from exporter.conformance.wait import until
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from exporter.conformance.candidate import Candidate


#: The number of polls of each healthy task after the first failure of the faulty source.
POLLS = 1

INTERVAL_SECONDS = 2
TIMEOUT_SECONDS = 1.9


@pytest.mark.parametrize("step", [hang, reset], ids=["hang", "reset"])
async def test_the_schedule_of_the_others_is_kept(
    candidate: Candidate, others: Mapping[str, Candidate], tmp_path: Path, step: Step
) -> None:
    """While a source hangs or its connections are reset, no poll of others is skipped or fails."""

    async def once(folder: Path) -> None:
        async with Trial(
            {"sick": candidate, **others},
            folder,
            clock=SYSTEM_CLOCK,
            interval=f"{INTERVAL_SECONDS}s",
            timeout=f"{TIMEOUT_SECONDS * 1000:.0f}ms",
        ) as trial:
            trial.subjects["sick"].front.treatment = instead(step)
            trial.engine.begin()
            await until(lambda: trial.failures()["sick"])
            before = polls(trial, *others)
            await until(
                lambda: all(
                    count >= before[task] + POLLS for task, count in polls(trial, *others).items()
                )
            )
            page = trial.page()

        for name in others:
            skipped = select(page, "loadfleet_exporter_schedule_skipped_total", source=name)
            assert {0} == {*skipped.values()}
            assert {} == trial.failures()[name]
            assert {} == accused(page, name)
            assert [1] == [*select(page, c.SOURCE_UP.name, source=name).values()]

    # All vendors run in this process, so during a stall none of them answers in time.
    await undisturbed(once, tmp_path, patience_seconds=TIMEOUT_SECONDS / 2)


def polls(trial: Trial, *names: str) -> dict[tuple[str, str], float]:
    """Return the number of polls by source and task, of the tasks that run in every interval."""
    counts = {}
    for name in names:
        settings = trial.engine.pollers[name].source.settings
        for task, seconds in settings.intervals().items():
            if seconds == INTERVAL_SECONDS:
                labels = (settings.provider, name, task)
                metric = trial.engine.telemetry[own.POLLS]
                counts[name, task] = metric.labels(*labels)._value.get()
    return counts
