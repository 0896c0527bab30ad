"""Real Load: the portal and what it knows of agents, controllers, recorders and suites."""

from __future__ import annotations

from exporter.lockout.policy import Policy
from exporter.sources.base import Provider
from exporter.sources.realload.settings import RealLoadSettings


REALLOAD = Provider(
    name="realload",
    settings=RealLoadSettings,
    connector="exporter.sources.realload.source:connect",
    kinds=("agent", "controller", "cluster", "recorder", "suite"),
    lockout=Policy(block="15 to 30 minutes"),
    spread=frozenset({"agents", "controllers", "clusters", "recorders", "jobs"}),
)
