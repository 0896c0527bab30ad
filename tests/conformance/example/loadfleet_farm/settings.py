"""Settings of a farm."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar, Literal

from exporter.sources.api import BasicSettings, Name


class FarmSettings(BasicSettings):
    """The settings of one farm.

    Attributes:
        min_agent_version: A generator that is older is outdated.
    """

    TASKS: ClassVar[Mapping[str, float | None]] = {"agents": 60.0, "runs": 30.0}
    FILTERS: ClassVar[Collection[str]] = ("agents",)

    provider: Literal["farm"] = "farm"
    name: Name = "farm"
    min_agent_version: str | None = None
