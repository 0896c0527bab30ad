"""The rules as the Prometheus operator takes them: a Kubernetes resource around the same groups."""

from __future__ import annotations

import textwrap


_RESOURCE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: loadfleet-exporter
spec:
"""


def prometheus_rule(rules_file: str) -> str:
    """Return the resource that holds a file of rules; the file's leading comments stay on top.

    Args:
        rules_file: As `exporter.alerts.prometheus.rules_file` writes it.
    """
    lines = rules_file.splitlines(keepends=True)
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    comments, groups = "".join(lines[:count]), "".join(lines[count:])
    return comments + _RESOURCE + textwrap.indent(groups, "  ")
