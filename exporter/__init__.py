"""Watch load-testing fleets and tell Prometheus how they are."""

__version__ = "0.2.0"
