"""Everything in this folder is run for every candidate of the table in `tests/support`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.candidates import CANDIDATES, Candidate
from tests.support.trial import Trial


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=CANDIDATES, ids=lambda candidate: candidate.name)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    """Return one candidate after the other."""
    found: Candidate = request.param
    return found


@pytest.fixture
async def trial(candidate: Candidate, tmp_path: Path) -> AsyncIterator[Trial]:
    """Connect one source of the candidate."""
    async with Trial({candidate.name: candidate}, tmp_path, timeout="4s") as connected:
        yield connected
