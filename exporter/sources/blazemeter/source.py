"""A BlazeMeter account as a source: one API key's workspaces and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.blazemeter.agents import AgentInventory
from exporter.sources.blazemeter.client import BlazeMeterClient
from exporter.sources.blazemeter.tracker import RunTracker
from exporter.sources.guarded import GuardedSource, http_client


if TYPE_CHECKING:
    from exporter.http import HttpClient
    from exporter.sources.base import SourceContext
    from exporter.sources.blazemeter.settings import BlazeMeterSettings


def connect(settings: BlazeMeterSettings, context: SourceContext) -> GuardedSource:
    """Make a source; sends nothing yet."""
    return source_over(http_client(settings, context), settings, context)


def source_over(
    http: HttpClient, settings: BlazeMeterSettings, context: SourceContext
) -> GuardedSource:
    """Make a source over a client of one's own, such as one with another transport."""
    client = BlazeMeterClient(settings, context, http=http)
    agents = AgentInventory(settings, context, client)
    runs = RunTracker(settings, context, client, location_names=agents.location_names)
    return GuardedSource(
        settings,
        client,
        polls={"runs": runs.poll, "agents": agents.poll},
        looks={
            "agent": agents.explain,
            "run": runs.explain_run,
            "suite": runs.explain_suite,
        },
    )
