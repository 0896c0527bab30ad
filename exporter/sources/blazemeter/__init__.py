"""BlazeMeter: test runs with their verdicts, and the agents of private locations.

`client` has the only calls that may be sent, `replies` the fields that are read. `tracker` follows
runs (`runs`, `status`, `suites`), `agents` judges agents; `calls` has the outcomes of one poll.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.base import Provider
from exporter.sources.blazemeter.settings import BlazeMeterSettings


if TYPE_CHECKING:
    from exporter.sources.base import Source, SourceContext


__all__ = ["BLAZEMETER"]


def _connect(settings: BlazeMeterSettings, context: SourceContext) -> Source:
    # Only who sends calls loads httpx: it takes longer than everything else together.
    from exporter.sources.blazemeter.source import connect  # noqa: PLC0415

    return connect(settings, context)


BLAZEMETER = Provider(
    name="blazemeter",
    settings=BlazeMeterSettings,
    connect=_connect,
    tasks=BlazeMeterSettings.TASKS,
    kinds=("agent", "run", "suite"),
)
