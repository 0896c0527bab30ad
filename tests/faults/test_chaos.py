"""A short form of `python -m tests.faults.chaos`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.chaos import run


if TYPE_CHECKING:
    from pathlib import Path


KINDS = {
    *("die", "cut", "fail", "hang", "stutter", "rotate"),
    *("reload", "mistake", "entertain", "deafen", "strike"),
}


@pytest.mark.timeout(240)
async def test_nothing_goes_wrong_while_everything_does(tmp_path: Path) -> None:
    """No wrong accusation, no gap, no growth, no lock-out, no lost alert."""
    report = await run(tmp_path, seconds=14, seed=3)

    assert () == report.wrong
    assert KINDS == report.done.keys()
    assert report.pages >= 50
    assert report.told >= 2
