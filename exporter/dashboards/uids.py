"""By what the dashboards link to each other; a uid never changes."""

from __future__ import annotations


OVERVIEW = "loadfleet-overview"
AGENTS = "loadfleet-agents"
SUITES = "loadfleet-suites"
EXPORTER = "loadfleet-exporter"

UIDS = (OVERVIEW, AGENTS, SUITES, EXPORTER)
