"""Eggplant DAI: connected and missing agents, and the runs they execute.

`client` has the only call that may be sent beside the login, which is in `tokens`. `replies` has
the fields that are read, `inventory` what is remembered between replies.
"""

from __future__ import annotations

from exporter.sources.base import Provider
from exporter.sources.eggplant.settings import EggplantSettings


EGGPLANT = Provider(
    name="eggplant",
    settings=EggplantSettings,
    connector="exporter.sources.eggplant.source:connect",
    kinds=("agent", "run"),
)
