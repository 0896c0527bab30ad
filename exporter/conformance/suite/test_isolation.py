"""Trouble of one source leaves the others' readings and pace as they are."""

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


#: So many polls of each healthy task have to follow the first failure of the sick source.
ROUNDS = 1

INTERVAL_SECONDS = 2
TIMEOUT_SECONDS = 1.9


@pytest.mark.parametrize("step", [hang, reset], ids=["hang", "reset"])
async def test_the_schedule_of_the_others_is_kept(
    candidate: Candidate, others: Mapping[str, Candidate], tmp_path: Path, step: Step
) -> None:
    """Beside a source that hangs or is torn, no poll of a healthy one is left out or fails."""

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
                    count >= before[task] + ROUNDS for task, count in polls(trial, *others).items()
                )
            )
            page = trial.page()

        for name in others:
            skipped = select(page, "loadfleet_exporter_schedule_skipped_total", source=name)
            assert {0} == {*skipped.values()}
            assert {} == trial.failures()[name]
            assert {} == accused(page, name)
            assert [1] == [*select(page, c.SOURCE_UP.name, source=name).values()]

    # All vendors are played in this process: who stands still answers nobody in time.
    await undisturbed(once, tmp_path, patience_seconds=TIMEOUT_SECONDS / 2)


def polls(trial: Trial, *names: str) -> dict[tuple[str, str], float]:
    """Count the polls of the tasks that run in every interval, by source and task."""
    counts = {}
    for name in names:
        settings = trial.engine.pollers[name].source.settings
        for task, seconds in settings.intervals().items():
            if seconds == INTERVAL_SECONDS:
                labels = (settings.provider, name, task)
                metric = trial.engine.telemetry[own.POLLS]
                counts[name, task] = metric.labels(*labels)._value.get()
    return counts
