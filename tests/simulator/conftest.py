from __future__ import annotations

import pytest

from tests.support.clock import FakeClock


@pytest.fixture
def time() -> FakeClock:
    """Time that passes only when a test says so."""
    return FakeClock()
