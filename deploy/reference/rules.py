"""A table of the alerts."""

from __future__ import annotations

from deploy.reference.markdown import table
from exporter.alerts.table import EVERYTHING, rules
from exporter.alerts.thresholds import Thresholds
from exporter.config.types import format_duration


def table_of_alerts(runbooks: str) -> str:
    """Return a table of all alerts with the default thresholds.

    Args:
        runbooks: The relative path from the page to the folder of the runbooks.
    """
    usual = {rule.name for rule in rules(Thresholds())}
    return table(
        ("Alert", "Severity", "After", "By", "Says"),
        (
            (
                f"[{rule.name}]({runbooks}/{rule.runbook})",
                str(rule.severity),
                format_duration(rule.hold_seconds),
                "both" if rule.built_in else "Prometheus",
                rule.summary + ("" if rule.name in usual else " Off by default."),
            )
            for rule in rules(EVERYTHING)
        ),
    )
