"""What is counted for one receiver of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from exporter.metrics.telemetry.registry import SelfMetrics


class ReceiverMetrics:
    """Writes the series of one receiver."""

    def __init__(self, telemetry: SelfMetrics, name: str) -> None:
        self._of = telemetry
        self._sent = telemetry.notifications.labels(name)
        self._failed = telemetry.notification_failures.labels(name)
        self._is_failing = telemetry.notifications_failing.labels(name)

    def sending(self) -> None:
        """Count a call."""
        self._of.touch()
        self._sent.inc()

    def succeeded(self) -> None:
        """Show that the newest call was accepted."""
        self._of.touch()
        self._is_failing.set(0)

    def failed(self) -> None:
        """Count a call that failed, and show that it was the newest."""
        self._of.touch()
        self._failed.inc()
        self._is_failing.set(1)
