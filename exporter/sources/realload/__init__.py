"""The provider for Real Load: its portal's agents, controllers, clusters, recorders and suites."""

from __future__ import annotations

from exporter.sources.base import Provider
from exporter.sources.realload.settings import RealLoadSettings


REALLOAD = Provider(
    name="realload",
    settings=RealLoadSettings,
    connector="exporter.sources.realload.source:connect",
    kinds=("agent", "controller", "cluster", "recorder", "suite"),
    spread=frozenset({"agents", "controllers", "clusters", "recorders", "jobs"}),
)
