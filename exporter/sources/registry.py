"""The only list of all providers, plug-ins included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.metrics import catalogue
from exporter.metrics.mapping import MAPPINGS
from exporter.sources import plugins
from exporter.sources.blazemeter import BLAZEMETER
from exporter.sources.eggplant import EGGPLANT
from exporter.sources.locust import LOCUST
from exporter.sources.realload import REALLOAD
from exporter.sources.selenium import SELENIUM


if TYPE_CHECKING:
    from exporter.metrics.catalogue import Family


#: The providers that are part of the exporter, by name.
BUILT_IN = {
    provider.name: provider for provider in (REALLOAD, BLAZEMETER, EGGPLANT, LOCUST, SELENIUM)
}

INSTALLED, BROKEN = plugins.load(BUILT_IN)

#: All providers by the value of the configuration's `provider` key.
PROVIDERS = BUILT_IN | {name: each.provider for name, each in INSTALLED.items()}

for _provider in PROVIDERS.values():
    MAPPINGS.update(_provider.mappings)

#: The catalogue's families, followed by the providers' own.
FAMILIES: tuple[Family, ...] = (
    *catalogue.FAMILIES,
    *(family for provider in PROVIDERS.values() for family in plugins.families(provider.mappings)),
)
