"""The exporter's own metrics: what it did, never what it saw.

They are ordinary prometheus-client metrics in a registry of their own. Everything that belongs to
a source goes through its `SourceMetrics`, which knows the `provider` and `source` labels, makes
the series exist from the start and removes them with the source.
"""

from exporter.metrics.telemetry.receiver import ReceiverMetrics
from exporter.metrics.telemetry.registry import PREFIX, SelfMetrics
from exporter.metrics.telemetry.source import SKIPS, SURPRISES, Skip, SourceMetrics, Surprise


__all__ = [
    "PREFIX",
    "SKIPS",
    "SURPRISES",
    "ReceiverMetrics",
    "SelfMetrics",
    "Skip",
    "SourceMetrics",
    "Surprise",
]
