"""Opening the state that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.state.memory import MemoryState


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.metrics.telemetry import SelfMetrics
    from exporter.state.base import State
    from exporter.state.settings import StateSettings


def open_state(settings: StateSettings, *, clock: Clock, telemetry: SelfMetrics) -> State:
    """Return the state; it opens its store at the first use and never raises here."""
    del settings, telemetry
    return MemoryState(clock.monotonic)
