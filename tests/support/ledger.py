"""Ledgers in memory, for guards under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.lockout.ledger import Ledger
from exporter.lockout.policy import Policy
from exporter.state.memory import MemoryState


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


def ledger_of(clock: FakeClock, url: str = "https://portal.example.net") -> Ledger:
    """Make a ledger with a state of its own."""
    return Ledger(MemoryState(clock.clock.monotonic), url, Policy(block="15 to 30 minutes"))
