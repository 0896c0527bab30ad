"""BlazeMeter: test runs with their verdicts, and the agents of private locations."""

from __future__ import annotations

from exporter.sources.base import Provider
from exporter.sources.blazemeter.settings import BlazeMeterSettings


__all__ = ["BLAZEMETER"]


BLAZEMETER = Provider(
    name="blazemeter",
    settings=BlazeMeterSettings,
    connector="exporter.sources.blazemeter.source:connect",
    tasks=BlazeMeterSettings.TASKS,
    kinds=("agent", "run", "suite"),
)
