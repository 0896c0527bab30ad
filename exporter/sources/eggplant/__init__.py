"""Eggplant DAI: connected and missing agents, and the runs they execute.

`client` has the only call that may be sent beside the login, which is in `tokens`. `replies` has
the fields that are read, `inventory` what is remembered between replies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.base import Provider
from exporter.sources.eggplant.settings import EggplantSettings


if TYPE_CHECKING:
    from exporter.sources.base import Source, SourceContext


__all__ = ["EGGPLANT"]


def _connect(settings: EggplantSettings, context: SourceContext) -> Source:
    # Only who sends calls loads httpx: it takes longer than everything else together.
    from exporter.sources.eggplant.source import connect  # noqa: PLC0415

    return connect(settings, context)


EGGPLANT = Provider(
    name="eggplant",
    settings=EggplantSettings,
    connect=_connect,
    tasks=EggplantSettings.TASKS,
    kinds=("agent", "run"),
)
