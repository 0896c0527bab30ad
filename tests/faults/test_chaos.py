"""Short forms of `python -m tests.faults.chaos`, with one exporter and with a pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.chaos import run
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path


KINDS = {
    *("die", "cut", "fail", "hang", "stutter", "rotate"),
    *("reload", "mistake", "entertain", "deafen", "strike"),
}
PAIR_KINDS = {"kill", "leave", "fell", "freeze", "restart", "stop", "flush", "fill"}


@pytest.mark.timeout(240)
async def test_nothing_goes_wrong_while_everything_does(tmp_path: Path) -> None:
    """No target may be wrongly down, no series missing, nothing leak, no alert be lost."""
    report = await run(tmp_path, seconds=14, seed=3)

    assert () == report.wrong
    assert KINDS == report.done.keys()
    assert report.pages >= 50
    assert report.told >= 2


@pytest.mark.timeout(400)
async def test_nothing_goes_wrong_with_a_pair(tmp_path: Path) -> None:
    """Both processes of a pair must show the same, and no vendor get the calls of both."""
    require("redis-server")

    report = await run(tmp_path, seconds=8, seed=3, paired=True)

    assert () == report.wrong
    assert KINDS | PAIR_KINDS == report.done.keys()
    assert report.pages >= 50
    assert report.compared >= 2
