"""Eggplant DAI: which agents are connected and what they execute."""

from __future__ import annotations

from exporter.sources.base import Provider
from exporter.sources.eggplant.settings import EggplantSettings


__all__ = ["EGGPLANT"]


EGGPLANT = Provider(
    name="eggplant",
    settings=EggplantSettings,
    connector="exporter.sources.eggplant.source:connect",
    tasks=EggplantSettings.TASKS,
    kinds=("agent", "run"),
)
