"""Selenium Grid 4: the nodes of a hub, and the hub itself.

`client` has the only calls that may be sent, `replies` the fields that are read, and `families` the
metrics that no other vendor has.
"""

from __future__ import annotations

from exporter.sources.api import Provider
from exporter.sources.selenium.families import MAPPINGS
from exporter.sources.selenium.settings import SeleniumSettings


SELENIUM = Provider(
    name="selenium",
    settings=SeleniumSettings,
    connector="exporter.sources.selenium.client:connect",
    kinds=("agent", "controller"),
    mappings=MAPPINGS,
)
