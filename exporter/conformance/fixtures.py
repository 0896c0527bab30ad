"""The fixtures of the suite's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.conformance.trial import Trial


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.conformance.candidate import Candidate


@pytest.fixture
async def trial(candidate: Candidate, tmp_path: Path) -> AsyncIterator[Trial]:
    """Connect one source of the candidate."""
    async with Trial({candidate.name: candidate}, tmp_path, timeout="4s") as connected:
        yield connected
