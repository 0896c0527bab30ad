"""The alert table as Prometheus reads it: a file of rules, or a resource of its operator's."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from exporter.config.types import format_duration
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.alerts.rule import Rule


HEADER = """\
# What Prometheus records and alerts on. Made by `loadfleet-exporter rules`: change the thresholds
# in the configuration and print it anew instead of editing it.
"""

_RESOURCE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: loadfleet-exporter
spec:
"""

_WIDTH = 100

# How much of the fleet could be reached, cheap to query over months: by source, the targets that
# were up and all that were looked at.
_RECORDED = (c.AGENT_UP, c.CONTROLLER_UP, c.CLUSTER_MEMBER_UP, c.RECORDER_UP)


def rules_file(rules: Iterable[Rule], *, runbook_url: str) -> str:
    """Return the file's text: recording rules, then the alerts."""
    groups = [
        {"name": "loadfleet-availability", "rules": _recordings()},
        {"name": "loadfleet-alerts", "rules": [_alert(rule, runbook_url) for rule in rules]},
    ]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=_WIDTH)
    return HEADER + text


def prometheus_rule(rules_file: str) -> str:
    """Return the Kubernetes resource around a file of rules; its leading comments stay on top."""
    lines = rules_file.splitlines(keepends=True)
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    comments, groups = "".join(lines[:count]), "".join(lines[count:])
    return comments + _RESOURCE + textwrap.indent(groups, "  ")


def _recordings() -> list[dict[str, Any]]:
    return [
        {
            "record": f"source:{family.name}:{aggregation}",
            "expr": f"{aggregation} without ({', '.join(family.labels)}) ({family.name})",
        }
        for family in _RECORDED
        for aggregation in ("sum", "count")
    ]


def _alert(rule: Rule, runbook_url: str) -> dict[str, Any]:
    annotations = rule.annotations(runbook_url=runbook_url)
    alert: dict[str, Any] = {"alert": rule.name, "expr": rule.expression.promql()}
    if rule.hold_seconds:
        alert["for"] = format_duration(rule.hold_seconds)
    if rule.keep_seconds:
        alert["keep_firing_for"] = format_duration(rule.keep_seconds)
    alert["labels"] = {"severity": rule.severity.value}
    alert["annotations"] = {name: text.prometheus() for name, text in annotations.items()}
    return alert
