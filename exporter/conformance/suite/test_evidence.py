"""A source shows nothing without evidence: neither a pass nor a target as gone or down."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from exporter.clock import SYSTEM_CLOCK
from exporter.conformance.candidate import SMALL
from exporter.conformance.cases import given
from exporter.conformance.front import changed, instead
from exporter.conformance.stalls import undisturbed
from exporter.conformance.trial import Trial, accused, fits, select, ups
from exporter.conformance.vendor import hang
from exporter.metrics import catalogue as c
from exporter.polling.doubt import DOUBTED_SECONDS


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter.conformance.candidate import Candidate
    from exporter.conformance.front import Ask, Treatment
    from exporter.conformance.trial import Labels, Page
    from exporter.conformance.vendor import Wire


#: The number of polls in which every run of the simulated vendors ends.
POLLS = 4
INTERVAL_SECONDS = 45.0

#: The time limit of calls to a slow vendor.
TIMEOUT_SECONDS = 0.5
TIMEOUT = f"{TIMEOUT_SECONDS * 1000:.0f}ms"

#: Options with so many agents that a single one is a small part of them.
MANY = msgspec.structs.replace(SMALL, agents=12)

INFOS = (c.AGENT_INFO, c.CONTROLLER_INFO, c.CLUSTER_INFO, c.RECORDER_INFO, c.LOCATION_INFO)


def members(page: Page) -> set[Labels]:
    """Return the labels of all targets that a page shows as the vendor's inventory."""
    return {labels for family in INFOS for labels in select(page, family.name)}


def incomplete_lists(page: Page) -> float:
    """Return the number of lists so far that the exporter did not believe."""
    name = "loadfleet_exporter_vendor_surprises_total"
    return sum(select(page, name, kind="incomplete_list").values())


@given(lambda each: each.interrupted)
async def test_an_abort_is_no_pass(trial: Trial, candidate: Candidate) -> None:
    """If a user stops a run, the run has an outcome, and neither it nor its suite passed."""
    world = trial.only.portal.world
    world.timeline.still = False
    assert candidate.interrupted is not None
    candidate.interrupted(world)

    for _ in range(POLLS):
        await trial.poll()
        trial.time.shift(INTERVAL_SECONDS)

    page = trial.page()
    outcomes = {
        dict(labels)["outcome"]
        for family in (c.SUITE_LAST_RUN_OUTCOME, c.RUN_OUTCOME)
        for labels, value in select(page, family.name).items()
        if value == 1
    }
    assert outcomes
    assert outcomes <= {"incomplete", "aborted", "no_verdict"}
    assert {0} >= {*select(page, c.RUN_PASSED.name).values()}
    # The runs before the aborted ones failed, and an abort does not change that.
    assert {0} >= {*select(page, c.SUITE_LAST_RUN_PASSED.name).values()}
    suites = select(page, c.SUITE_RUNNING.name)
    assert len(suites) == len(select(page, c.SUITE_LAST_RUN_PASSED.name))


@given(lambda each: each.emptied)
async def test_an_emptied_inventory_is_a_failure(trial: Trial, candidate: Candidate) -> None:
    """If a list becomes empty, its targets stay until it has been empty for an hour."""
    await trial.poll()
    full = trial.page()
    world = trial.only.portal.world
    for kind in candidate.emptied:
        world.table(kind).clear()

    await trial.poll()
    emptied = trial.page()

    assert members(full)
    assert members(full) == members(emptied)
    assert ups(full) == ups(emptied)
    assert {} == accused(emptied, candidate.name)
    assert incomplete_lists(emptied) >= 1
    assert trial.failures()[candidate.name]["api_error"] >= 1
    assert 0 in select(emptied, c.SOURCE_TASK_UP.name).values()

    trial.time.shift(DOUBTED_SECONDS + 1)
    await trial.poll()
    assert set() == members(trial.page())
    assert 0 not in select(trial.page(), c.SOURCE_TASK_UP.name).values()


@given(lambda each: each.shortened)
async def test_a_list_shorter_than_its_total_is_a_failure(
    trial: Trial, candidate: Candidate
) -> None:
    """If a list is shorter than its total, the missing targets stay."""
    assert candidate.shortened is not None
    await trial.poll()
    full = trial.page()
    candidate.shortened(trial.only.portal.world)

    await trial.poll()
    short = trial.page()

    assert members(full) == members(short)
    assert ups(full) == ups(short)
    assert incomplete_lists(short) > incomplete_lists(full)
    assert 0 in select(short, c.SOURCE_TASK_UP.name).values()


async def test_a_vendor_that_hangs_accuses_nobody(trial: Trial, candidate: Candidate) -> None:
    """If the vendor hangs, all targets keep their last state."""
    await trial.reload(timeout=TIMEOUT)
    await trial.poll()
    good = trial.page()
    trial.only.front.treatment = instead(hang)

    for _ in range(3):
        await trial.poll()

    page = trial.page()
    assert ups(good)
    assert ups(good) == ups(page)
    assert {} == accused(page, candidate.name)
    assert [0] == [*select(page, c.SOURCE_UP.name).values()]


def sluggish() -> Treatment:
    """Return a treatment that delays pings by about the time-out, so that some of them time out."""
    chance = Random(1)  # noqa: S311 - repeatable, not secret

    async def treat(wire: Wire, ask: Ask) -> None:
        await asyncio.sleep(chance.uniform(0.75, 1.15) * TIMEOUT_SECONDS)
        await unchanged(wire, ask)

    return treat


def stalling() -> Treatment:
    """Return a treatment that lets only the first pings be answered."""
    left = 4

    async def treat(wire: Wire, ask: Ask) -> None:
        nonlocal left
        left -= 1
        await (unchanged if left >= 0 else instead(hang))(wire, ask)

    return treat


unchanged = changed(lambda body: body)

with_pings = given(lambda each: each.pings)


def _timed(candidate: Candidate, folder: Path) -> Trial:
    """Return a trial in real time, because these tests depend on the duration of pings."""
    sources = {candidate.name: candidate}
    return Trial(sources, folder, options=MANY, timeout=TIMEOUT, clock=SYSTEM_CLOCK)


@with_pings
@pytest.mark.parametrize("make", [sluggish, stalling, lambda: instead(hang)])
async def test_a_vendor_that_is_slow_for_all_accuses_nobody(
    candidate: Candidate, tmp_path: Path, make: Callable[[], Treatment]
) -> None:
    """If many pings time out, no target is down because of that, although the vendor answers."""

    async def play(folder: Path) -> None:
        async with _timed(candidate, folder) as trial:
            await trial.poll()
            good = trial.page()
            trial.only.front.struck = lambda seen: fits(candidate.pings, seen)
            trial.only.front.treatment = make()

            await trial.poll()

            page = trial.page()
            assert ups(good) == ups(page)
            assert accused(good, candidate.name) == accused(page, candidate.name)
            assert [1] == [*select(page, "loadfleet_exporter_vendor_slow").values()]

    await undisturbed(play, tmp_path, patience_seconds=TIMEOUT_SECONDS / 10)


@with_pings
async def test_a_target_that_alone_does_not_answer_is_down(
    candidate: Candidate, tmp_path: Path
) -> None:
    """If a single target does not answer its ping, that target is down."""

    async def play(folder: Path) -> None:
        async with _timed(candidate, folder) as trial:
            await trial.poll()
            before = accused(trial.page(), candidate.name)
            trial.only.front.struck = lambda seen: fits(candidate.part, seen)
            trial.only.front.treatment = instead(hang)

            await trial.poll()

            page = trial.page()
            down = accused(page, candidate.name).items() - before.items()
            assert {(f"{c.AGENT_UP.name}/{candidate.target}", "timeout")} == down
            assert [0] == [*select(page, "loadfleet_exporter_vendor_slow").values()]

    await undisturbed(play, tmp_path, patience_seconds=TIMEOUT_SECONDS / 10)
