"""The classes of faults, crossed with providers, operations and moments: many at once.

CI plays a sample that has each fault, and each class of faults for each provider at both moments;
`--whole` plays all of them, and `--seed` chooses another sample.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from exporter.conformance.faults import grid
from exporter.conformance.faults.play import Play
from exporter.conformance.faults.table import BRIEF_SECONDS, MAX_REPLY
from exporter.conformance.stalls import undisturbed
from exporter.conformance.trial import Trial, select
from exporter.errors import Reason
from exporter.metrics import catalogue as c
from tests.faults.pages import PlayWithPages
from tests.support.candidates import CANDIDATES


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from exporter.conformance.candidate import Candidate


#: The classes of faults in a reply's values.
VALUES = frozenset(("number", "flag", "time", "text", "shape"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each play."""
    if "batch" in metafunc.fixturenames:
        option = metafunc.config.getoption
        cells: Iterable[grid.Cell] = grid.cells(CANDIDATES)
        cells = cells if option("--whole") else grid.sample(cells, option("--seed"))
        metafunc.parametrize("batch", grid.batches(cells), ids=grid.name_of)


async def test_no_fault_costs_more_than_what_it_takes(
    batch: list[grid.Cell], ca_file: str, tmp_path: Path
) -> None:
    """A fault must have its reason, call no target down, break no page, and end when it is over."""

    async def once(own: Path) -> None:
        wrong = await PlayWithPages(batch, own, ca_file=ca_file).run(shutil.which("promtool"))

        assert [] == wrong

    # Answered calls do not time out because of a shorter stall.
    await undisturbed(once, tmp_path, patience_seconds=BRIEF_SECONDS / 2)


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_has_all_that_matters(seed: int) -> None:
    """A sample must have each fault, and for each provider each class and each operation."""
    whole, found = [*grid.cells(CANDIDATES)], grid.sample(grid.cells(CANDIDATES), seed)

    for key in (
        lambda cell: cell.fault.name,
        lambda cell: (cell.fault.group, cell.candidate.name, cell.known),
        lambda cell: (cell.candidate.name, cell.operation, cell.known),
    ):
        assert {*map(key, whole)} == {*map(key, found)}
    assert len(found) < len(whole) / 20
    assert len({(fault.group, fault.name) for fault in grid.FAULTS}) == len(grid.FAULTS)


@pytest.mark.parametrize(
    "candidate",
    [each for each in CANDIDATES if each.name in ("realload", "blazemeter")],
    ids=lambda each: each.name,
)
async def test_no_value_makes_a_pass(
    request: pytest.FixtureRequest, candidate: Candidate, ca_file: str, tmp_path: Path
) -> None:
    """A run that failed or was stopped must never pass, whatever its report contains."""
    option = request.config.getoption
    faults = [fault for fault in grid.FAULTS if fault.group in VALUES]
    # A quarter of the faults, another one with each seed.
    faults = faults if option("--whole") else faults[option("--seed") % 4 :: 4]
    sources = {f"s{number}": candidate for number in range(len(faults))}
    async with Trial(sources, tmp_path, ca_file=ca_file, max_reply_bytes=MAX_REPLY) as trial:
        world = trial.subjects["s0"].portal.world
        world.timeline.still = False
        assert candidate.interrupted is not None
        candidate.interrupted(world)
        trial.time.shift(600.0)
        for fault, subject in zip(faults, trial.subjects.values(), strict=True):
            subject.front.treatment = fault.treatment
        await trial.engine.poll_once()
        page = trial.page()

    verdicts = {
        (faults[int(dict(labels)["source"][1:])].name, value)
        for family in (c.SUITE_LAST_RUN_PASSED, c.RUN_PASSED)
        for labels, value in select(page, family.name).items()
    }
    assert len(verdicts) > len(faults) / 3
    assert [] == sorted(name for name, value in verdicts if value == 1)


async def test_what_is_wrong_is_found(ca_file: str, tmp_path: Path) -> None:
    """A cell whose fault is reported as another one must be named."""
    cells = grid.cells(CANDIDATES)
    cell = next(cell for cell in cells if cell.fault.name == "login page")
    fault = msgspec.structs.replace(cell.fault, reason=Reason.TIMEOUT)

    wrong = await Play([msgspec.structs.replace(cell, fault=fault)], tmp_path, ca_file=ca_file).run(
        None
    )

    assert [f"{cell}: counted under ['decode'] instead of timeout"] == wrong
