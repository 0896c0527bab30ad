"""The alerts, from their table."""

from __future__ import annotations

from deploy.reference.markdown import table
from exporter.alerts import table as alerts
from exporter.alerts.thresholds import Thresholds
from exporter.config.types import format_duration


# With every limit given no alert is left out.
_EVERY = Thresholds.model_validate({"suite_overdue": "1d"})


def table_of_alerts(runbooks: str) -> str:
    """List all alerts with the default thresholds.

    Args:
        runbooks: The way from the page to the folder with the runbooks.
    """
    usual = {rule.name for rule in alerts.rules(Thresholds())}
    return table(
        ("Alert", "Severity", "After", "Says"),
        (
            (
                f"[{rule.name}]({runbooks}/{rule.runbook})",
                str(rule.severity),
                format_duration(rule.hold_seconds),
                rule.summary + ("" if rule.name in usual else " Off by default."),
            )
            for rule in alerts.rules(_EVERY)
        ),
    )
