"""The provider for Selenium Grid 4: the nodes of a hub, and the hub itself.

`client` sends the calls, `replies` declares the fields to read, and `families` declares the metrics
that no other provider has.
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
