"""The source for one API key's workspaces and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.base import Source, SourceContext
from exporter.sources.blazemeter.agents import AgentInventory
from exporter.sources.blazemeter.client import BlazeMeterClient
from exporter.sources.blazemeter.explain import RunExplainer
from exporter.sources.blazemeter.tracker import RunTracker
from exporter.sources.calls import http_client


if TYPE_CHECKING:
    from exporter.http import HttpClient
    from exporter.sources.blazemeter.settings import BlazeMeterSettings


def connect(
    settings: BlazeMeterSettings, context: SourceContext, *, http: HttpClient | None = None
) -> Source:
    """Return a new source, which has not sent a call yet.

    Args:
        settings: The source's settings.
        context: Everything else the source needs.
        http: The HTTP client to use; a new one if not given.
    """
    http = http or http_client(settings, context, settings.credentials.fingerprint)
    client = BlazeMeterClient(settings, context, http=http)
    agents = AgentInventory(client)
    runs = RunTracker(client, location_names=agents.location_names)
    explainer = RunExplainer(client, runs, location_names=agents.location_names)
    return Source(
        client,
        tasks={"runs": runs.poll, "agents": agents.poll},
        explainers={
            "agent": agents.explain_agent,
            "location": agents.explain_location,
            "run": explainer.run,
            "suite": explainer.suite,
        },
    )
