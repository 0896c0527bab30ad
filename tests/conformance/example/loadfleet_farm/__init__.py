"""A load generator of one's own, as a plug-in of loadfleet-exporter."""

from __future__ import annotations

from exporter.sources.api import Provider

from .families import MAPPINGS
from .settings import FarmSettings


FARM = Provider(
    name="farm",
    settings=FarmSettings,
    connector="loadfleet_farm.client:connect",
    kinds=("agent", "run"),
    mappings=MAPPINGS,
)
