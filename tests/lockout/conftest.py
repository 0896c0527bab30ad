"""Members of one ledger in front of one portal, in simulated time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from exporter.state.memory import MemoryState
from tests.support.clock import FakeClock
from tests.support.participants import Participant
from tests.support.portal import Portal


if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def clock() -> FakeClock:
    """Make a clock that stands still."""
    return FakeClock()


@pytest.fixture
def portal(clock: FakeClock) -> Portal:
    """Make a portal that accepts the secret `a`."""
    return Portal(clock)


@pytest.fixture
def state(clock: FakeClock) -> MemoryState:
    """Make a state that the participants share."""
    return MemoryState(clock.clock.monotonic)


@pytest.fixture
def participant(portal: Portal, state: MemoryState) -> Callable[..., Participant]:
    """Return what makes a participant."""
    return partial(Participant, portal, state)
