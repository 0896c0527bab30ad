"""Short forms of `python -m tests.faults.chaos`, with one exporter and with a pair."""

from __future__ import annotations

import asyncio
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
    """No wrong accusation, no gap, no growth, no lock-out, no lost alert, no doubled call."""
    require("redis-server")
    alone, paired = tmp_path / "alone", tmp_path / "paired"
    alone.mkdir()
    paired.mkdir()

    one, two = await asyncio.gather(
        run(alone, seconds=14, seed=3), run(paired, seconds=14, seed=3, paired=True)
    )

    assert () == one.wrong
    assert () == two.wrong
    assert KINDS == one.done.keys()
    assert KINDS | PAIR_KINDS == two.done.keys()
    assert min(one.pages, two.pages) >= 50
    assert min(one.told, two.told) >= 2
    assert two.compared >= 2
