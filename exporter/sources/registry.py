"""Every provider, once: the only list of them."""

from __future__ import annotations

from exporter.sources.blazemeter import BLAZEMETER
from exporter.sources.eggplant import EGGPLANT
from exporter.sources.realload import REALLOAD


#: By the value of the configuration's `provider` key.
PROVIDERS = {provider.name: provider for provider in (REALLOAD, BLAZEMETER, EGGPLANT)}
