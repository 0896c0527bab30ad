from __future__ import annotations

from typing import Any

import yaml

from exporter.alerts.formats import rules_file
from exporter.alerts.table import rules
from exporter.alerts.thresholds import Thresholds


def groups(runbook_url: str = "https://example.com/", **thresholds: Any) -> dict[str, Any]:
    """Return the groups of the file by their names."""
    text = rules_file(rules(Thresholds.model_validate(thresholds)), runbook_url=runbook_url)
    return {group["name"]: group["rules"] for group in yaml.safe_load(text)["groups"]}


def test_an_alert_is_written_whole() -> None:
    """Condition, times, severity and texts are what Prometheus needs."""
    (rule,) = (
        rule for rule in groups()["loadfleet-alerts"] if rule["alert"] == "LoadFleetRunFailed"
    )

    assert {
        "alert": "LoadFleetRunFailed",
        "expr": "loadfleet_run_passed == 0",
        "for": "5m",
        "keep_firing_for": "5m",
        "labels": {"severity": "warning"},
        "annotations": {
            "summary": "A run ended and did not pass.",
            "description": "Run {{ $labels.run }} (id {{ $labels.run_id }}) of source"
            " {{ $labels.source }} did not pass: it failed, was not executed as a whole, or ended"
            " in an error or without data.",
            "runbook_url": "https://example.com/LoadFleetRunFailed.md",
        },
    } == rule


def test_runbooks_can_be_elsewhere() -> None:
    """With or without a slash at its end, the address is a folder."""
    found = {
        rule["annotations"]["runbook_url"].rsplit("/", 1)[0]
        for rule in groups("https://wiki.example.com/loadfleet")["loadfleet-alerts"]
    }

    assert {"https://wiki.example.com/loadfleet"} == found


def test_no_time_of_waiting_is_not_written() -> None:
    """Prometheus takes the absence for none."""
    found = groups(for_scale=0)["loadfleet-alerts"]

    assert not any({"for", "keep_firing_for"} & rule.keys() for rule in found)


def test_availability_is_recorded_by_source() -> None:
    """Numerator and denominator are kept apart, or months could not be averaged."""
    found = {rule["record"]: rule["expr"] for rule in groups()["loadfleet-availability"]}

    assert (
        "sum without (agent_id, agent) (loadfleet_agent_up)"
        == (found["source:loadfleet_agent_up:sum"])
    )
    assert {"sum", "count"} == {name.rsplit(":", 1)[1] for name in found}
