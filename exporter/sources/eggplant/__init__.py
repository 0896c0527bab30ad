"""The provider for Eggplant DAI: connected and missing agents, and the runs they execute.

`client` sends all calls except the login, which is in `tokens`. `replies` declares the fields to
read. `inventory` remembers agents, and `runs` remembers runs, from reply to reply.
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
