"""BlazeMeter: test runs with their verdicts, and the agents of private locations.

`client` has the only calls that may be sent, `replies` the fields that are read. `tracker` follows
runs (`runs`, `status`), `agents` judges agents and locations; `pages` reads lists, `calls` has the
outcomes of one poll.
"""

from __future__ import annotations

from exporter.sources.base import Provider
from exporter.sources.blazemeter.settings import BlazeMeterSettings


BLAZEMETER = Provider(
    name="blazemeter",
    settings=BlazeMeterSettings,
    connector="exporter.sources.blazemeter.source:connect",
    kinds=("agent", "location", "run", "suite"),
)
