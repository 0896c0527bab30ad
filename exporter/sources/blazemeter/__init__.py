"""The provider for BlazeMeter: test runs with their verdicts, and the agents of private locations.

`operations` lists the allowed calls, `client` sends them, and `replies` declares the fields to
read. `tracker` follows runs (`masters`, `runs`, `status`) and their suites (`suites`, `names`,
`multitests`, `results`), filtered by `selection`; `explain` shows one run or suite. `agents` polls
private locations with their agents, and `locations` judges them. `calls` collects the outcomes of
one poll's calls, and `pages` reads lists that come in pages.
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
