"""Every provider, once: the only list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.blazemeter import BLAZEMETER
from exporter.sources.eggplant import EGGPLANT
from exporter.sources.realload import REALLOAD


if TYPE_CHECKING:
    from exporter.sources.base import Provider

_ALL = (REALLOAD, BLAZEMETER, EGGPLANT)

#: By the value of the configuration's `provider` key.
PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}
