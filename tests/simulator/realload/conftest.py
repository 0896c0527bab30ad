from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator.callers import RealLoad


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


@pytest.fixture
def portal(time: FakeClock) -> RealLoad:
    """A portal whose fleet stays as it begins."""
    return RealLoad(time, still=True)
