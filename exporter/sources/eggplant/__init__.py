"""Eggplant DAI: connected and missing agents, and the runs they execute.

`client` has the only calls that may be sent beside the login, which is in `tokens`. `replies` has
the fields that are read, `inventory` what is remembered of agents between replies, and `runs` what
is remembered of runs.
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
