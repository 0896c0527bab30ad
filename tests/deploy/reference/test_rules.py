from __future__ import annotations

from deploy.reference.rules import table_of_alerts
from exporter.alerts.table import rules
from exporter.alerts.thresholds import Thresholds


def test_lists_every_alert_with_its_runbook() -> None:
    """Every alert must be listed with its runbook, also those off by default."""
    listed = table_of_alerts("../runbooks")

    assert all(f"({'../runbooks'}/{rule.name}.md)" in listed for rule in rules(Thresholds()))
    assert 1 == listed.count("Off by default.")
    assert "| [LoadFleetSuiteOverdue](../runbooks/LoadFleetSuiteOverdue.md) | warning |" in listed
