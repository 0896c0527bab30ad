"""Faults on the wire and in replies are told for what they are, accuse nobody, and pass."""

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
    """Each fault has its reason, accuses nobody, breaks no page, and is over when it is over."""

    async def once(own: Path) -> None:
        wrong = await Play(batch, own, ca_file=ca_file).run(shutil.which("promtool"))

        assert [] == wrong, "\n".join(wrong)

    # Of a shorter stall, calls that are answered do not time out.
    await undisturbed(once, tmp_path, patience_seconds=BRIEF_SECONDS / 2)
