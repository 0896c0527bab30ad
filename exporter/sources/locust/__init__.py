"""Locust: the workers of a master, the master itself, and the test that they run.

`client` has the only calls that may be sent, `replies` the fields that are read, `workers` the
names of workers from start to start, `run` the test as a run, and `families` the metrics that
no other vendor has.
"""

from __future__ import annotations

from exporter.sources.api import Provider
from exporter.sources.locust.families import MAPPINGS
from exporter.sources.locust.settings import LocustSettings


LOCUST = Provider(
    name="locust",
    settings=LocustSettings,
    connector="exporter.sources.locust.client:connect",
    kinds=("agent", "controller", "run"),
    mappings=MAPPINGS,
)
