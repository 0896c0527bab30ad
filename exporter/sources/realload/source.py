"""One account at a portal as a source; each task is a module of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.base import Source
from exporter.sources.calls import http_client
from exporter.sources.realload.account import AccountFacts
from exporter.sources.realload.agents import Agents
from exporter.sources.realload.certificates import Certificates
from exporter.sources.realload.client import Http, RealLoadClient
from exporter.sources.realload.clusters import Clusters
from exporter.sources.realload.controllers import Controllers
from exporter.sources.realload.jobs import Jobs
from exporter.sources.realload.portal import Portal
from exporter.sources.realload.recorders import Recorders
from exporter.sources.realload.suites import Suites
from exporter.sources.realload.templates import Templates


if TYPE_CHECKING:
    from exporter.sources.base import SourceContext
    from exporter.sources.realload.settings import RealLoadSettings


def connect(
    settings: RealLoadSettings, context: SourceContext, *, http: Http | None = None
) -> Source:
    """Make a source; sends nothing yet.

    Args:
        settings: The settings.
        context: Whatever else a source needs.
        http: The client to send calls with, such as one with another transport.
    """
    http = http or http_client(settings, context)
    client = RealLoadClient(settings, context, http=http)
    portal = Portal(
        shard=context.shard,
        known=context.known,
        client=client,
        settings=settings,
        clock=context.clock,
        surprise=context.telemetry.surprise,
    )
    agents, account = Agents(portal), AccountFacts(portal)
    controllers, clusters, suites = Controllers(portal), Clusters(portal), Suites(portal)
    recorders = Recorders(portal, account)
    return Source(
        settings,
        client,
        tasks={
            "agents": agents.poll,
            "controllers": controllers.poll,
            "clusters": clusters.poll,
            "recorders": recorders.poll,
            "suites": suites.poll,
            "versions": account.poll,
            "jobs": Jobs(portal, agents).poll,
            "templates": Templates(portal).poll,
            "certificates": Certificates(portal).poll,
        },
        explainers={
            "agent": agents.explain,
            "controller": controllers.explain,
            "cluster": clusters.explain,
            "recorder": recorders.explain,
            "suite": suites.explain,
        },
    )
