"""BlazeMeter: test runs with their verdicts, and the agents of private locations.

`operations` are the only calls that may be sent, `client` sends them, and `replies` are the fields
that are read. `tracker` follows runs (`masters`, `runs`, `status`) and their suites (`suites`,
`names`, `multitests`, `results`) as far as they are wanted (`selection`), and `explain` shows one
of them. `agents` judges agents and `locations` their places. `calls` has the outcomes of one poll,
and `pages` reads lists.
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
