"""The public module for authors of candidates: every name that a simulated vendor needs.

The page "Adding a provider" of the documentation builds a candidate step by step. A name that is
not listed in `__all__` may change in any release.
"""

from __future__ import annotations

from exporter.clock import Clock
from exporter.conformance.candidate import SMALL, Candidate, Told
from exporter.conformance.serving import application
from exporter.errors import Reason
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.vendor import JsonResponse, Portal
from exporter.simulator.world import Machine, Timeline, World


__all__ = [
    "SMALL",
    "Candidate",
    "Clock",
    "JsonResponse",
    "Machine",
    "Portal",
    "Reason",
    "SimulatorOptions",
    "Timeline",
    "Told",
    "World",
    "application",
]
