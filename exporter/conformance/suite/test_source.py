"""A source with a healthy vendor delivers readings for all its tasks and kinds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from exporter.conformance.front import instead, line
from exporter.conformance.trial import Trial, accused, select
from exporter.conformance.vendor import hang
from exporter.conformance.wait import until
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.conformance.candidate import Candidate


async def test_nothing_is_sent_before_the_first_poll(trial: Trial) -> None:
    """Connecting a source sends no call before the first poll."""
    poller = trial.engine.pollers[trial.only.name]

    assert not poller.up
    assert not poller.source.blocked
    assert [] == trial.only.front.seen


async def test_every_task_learns_something(trial: Trial) -> None:
    """Every task reads the simulated vendor without a failure or a surprise."""
    subject = trial.only

    await trial.poll()

    page = trial.page()
    known = {snapshot.task for snapshot in trial.engine.store.snapshots() if snapshot.readings}
    assert {*subject.candidate.provider.settings.TASKS} == known - {"source"}
    assert {} == trial.failures()[subject.name]
    assert {} == accused(page, subject.name)
    assert [1] == [*select(page, c.SOURCE_UP.name).values()]
    assert {0} == {*select(page, "loadfleet_exporter_vendor_surprises_total").values()}


async def test_every_kind_can_be_looked_at(trial: Trial) -> None:
    """Each kind that the provider declares has a target, and its explanation is about it."""
    await trial.poll()
    targets = trial.targets()
    source = trial.engine.pollers[trial.only.name].source

    explanations = {kind: await source.explain(kind, targets[kind]) for kind in targets}

    assert {*trial.only.candidate.provider.kinds} == {*targets}
    assert {kind: type(found.reading).__name__.lower() for kind, found in explanations.items()} == {
        kind: kind for kind in targets
    }


@pytest.mark.parametrize("target", ["nobody", "../x?y=1"])
async def test_nothing_but_the_inventory_can_be_looked_at(trial: Trial, target: str) -> None:
    """An unknown kind or target raises a `LookupError` and causes no call."""
    await trial.poll()
    source = trial.engine.pollers[trial.only.name].source

    for kind in (*trial.only.candidate.provider.kinds, "nonsense"):
        with pytest.raises(LookupError):
            await source.explain(kind, target)

    assert not [seen for seen in trial.only.front.seen if target in line(seen)]


async def test_a_stop_waits_for_no_vendor(candidate: Candidate, tmp_path: Path) -> None:
    """Calls in flight end at once when the source is closed."""
    async with Trial({candidate.name: candidate}, tmp_path, timeout="30s") as trial:
        front = trial.only.front
        front.treatment = instead(hang)
        polling = asyncio.create_task(trial.poll())
        await until(lambda: front.treated)

        async with asyncio.timeout(10.0):  # shorter than the time-out
            await trial.engine.pollers[trial.only.name].source.aclose()
            await polling

        assert {"connect"} >= {*trial.failures()[trial.only.name]} - {"blocked"}
