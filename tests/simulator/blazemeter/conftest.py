from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator.callers import BlazeMeter


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


@pytest.fixture
def api(time: FakeClock) -> BlazeMeter:
    """An account that begins now."""
    return BlazeMeter(time)
