"""Real Load: the portal and what it knows of agents, controllers, recorders and suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.base import Provider
from exporter.sources.realload.settings import RealLoadSettings


if TYPE_CHECKING:
    from exporter.sources.base import Source, SourceContext


__all__ = ["REALLOAD"]


def _connect(settings: RealLoadSettings, context: SourceContext) -> Source:
    # Only who sends calls loads httpx: it takes longer than everything else together.
    from exporter.sources.realload.source import connect  # noqa: PLC0415

    return connect(settings, context)


REALLOAD = Provider(
    name="realload",
    settings=RealLoadSettings,
    connect=_connect,
    tasks=RealLoadSettings.TASKS,
    kinds=("agent", "controller", "cluster", "recorder", "suite"),
    spread=frozenset({"agents", "controllers", "clusters", "recorders", "jobs"}),
)
