"""Waiting for a condition, as the conformance suite does it."""

from __future__ import annotations

from exporter.conformance.wait import until


__all__ = ["until"]
