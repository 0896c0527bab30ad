"""The source for one account at a portal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from exporter.sources.base import Source, SourceContext
from exporter.sources.calls import http_client
from exporter.sources.realload.account import AccountFacts, poll_certificates, poll_templates
from exporter.sources.realload.client import RealLoadClient
from exporter.sources.realload.clusters import Clusters
from exporter.sources.realload.machines import Agents, Controllers, Jobs, Recorders
from exporter.sources.realload.suites import Suites


if TYPE_CHECKING:
    from exporter.http import HttpClient
    from exporter.sources.realload.settings import RealLoadSettings


def connect(
    settings: RealLoadSettings, context: SourceContext, *, http: HttpClient | None = None
) -> Source:
    """Return a new source, which has not sent a call yet.

    Args:
        settings: The source's settings.
        context: Everything else the source needs.
        http: The HTTP client to use; a new one if not given.
    """
    http = http or http_client(settings, context, settings.token.fingerprint)
    client = RealLoadClient(settings, context, http=http)
    agents, controllers, clusters = Agents(client), Controllers(client), Clusters(client)
    suites, account = Suites(client), AccountFacts(client)
    recorders = Recorders(client, account)
    return Source(
        client,
        tasks={
            "agents": agents.poll,
            "controllers": controllers.poll,
            "clusters": clusters.poll,
            "recorders": recorders.poll,
            "suites": suites.poll,
            "versions": account.poll,
            "jobs": Jobs(client, agents).poll,
            "templates": partial(poll_templates, client),
            "certificates": partial(poll_certificates, client),
        },
        explainers={
            "agent": agents.explain,
            "controller": controllers.explain,
            "cluster": clusters.explain,
            "recorder": recorders.explain,
            "suite": suites.explain,
        },
    )
