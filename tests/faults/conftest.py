"""Fixtures of the fault scenarios."""

from __future__ import annotations

import pytest

from exporter.conformance.fixtures import authority, ca_file


__all__ = ["authority", "ca_file"]


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """Return the seeds with which scenarios are played."""
    first: int = request.config.getoption("--seed")
    plays: int = request.config.getoption("--plays")
    return range(first, first + plays)
