"""Whatever happens to one source, the others' readings and pace stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.clock import SYSTEM_CLOCK
from tests.support.candidates import CANDIDATES
from tests.support.front import instead
from tests.support.trial import Trial, accused, select
from tests.support.vendor import Step, hang, reset
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.candidates import Candidate


ROUNDS = 2

#: Long enough for a busy machine, on which all vendors are played in the same process.
INTERVAL_SECONDS = 2


@pytest.mark.parametrize("step", [hang, reset], ids=["hang", "reset"])
async def test_the_schedule_of_the_others_is_kept(
    candidate: Candidate, tmp_path: Path, step: Step
) -> None:
    """No poll of a healthy source is late enough to be left out, or fails."""
    others = {each.name: each for each in CANDIDATES if each.provider is not candidate.provider}
    everybody = {"sick": candidate, **others}
    async with Trial(
        everybody, tmp_path, clock=SYSTEM_CLOCK, interval=f"{INTERVAL_SECONDS}s", timeout="1900ms"
    ) as trial:
        trial.subjects["sick"].front.treatment = instead(step)
        trial.engine.begin()
        polls = trial.engine.telemetry.polls
        tasks = {
            name: [
                task
                for task, seconds in trial.engine.pollers[name].source.settings.intervals().items()
                if seconds == INTERVAL_SECONDS
            ]
            for name in others
        }

        def done() -> bool:
            return bool(trial.failures()["sick"]) and all(
                polls.labels(each.provider.name, name, task)._value.get() >= ROUNDS
                for name, each in others.items()
                for task in tasks[name]
            )

        await until(done)
        page = trial.page()

    for name in others:
        skipped = select(page, "loadfleet_exporter_schedule_skipped_total", source=name)
        assert {0} == {*skipped.values()}
        assert {} == trial.failures()[name]
        assert {} == accused(page, name)
        assert [1] == [*select(page, "loadfleet_source_up", source=name).values()]
