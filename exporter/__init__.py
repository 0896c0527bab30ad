"""Prometheus exporter for load-testing fleets."""

__version__ = "0.2.0"
