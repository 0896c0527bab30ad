"""A fault of a connection or a reply is counted under its reason and has no other effects."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from exporter.conformance.faults.play import Play
from exporter.conformance.faults.table import BRIEF_SECONDS
from exporter.conformance.stalls import undisturbed


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.conformance.faults.grid import Cell


async def test_no_fault_costs_more_than_what_it_takes(
    batch: list[Cell], ca_file: str, tmp_path: Path
) -> None:
    """Each fault has the right reason, shows no target as down, and has no lasting effect."""

    async def once(own: Path) -> None:
        wrong = await Play(batch, own, ca_file=ca_file).run(shutil.which("promtool"))

        assert [] == wrong, "\n".join(wrong)

    # During a shorter stall no answered call times out.
    await undisturbed(once, tmp_path, patience_seconds=BRIEF_SECONDS / 2)
