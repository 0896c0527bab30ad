"""The provider for Locust: the workers of a master, the master itself, and its test.

`client` sends the calls, and `replies` declares the fields to read. `workers` gives workers names
that outlive a restart, `run` follows the test, and `families` declares the metrics that no other
provider has.
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
