"""The alert table as Prometheus reads it: a file of rules, or a resource of its operator's."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, Self

import msgspec
import yaml

from exporter.alerts import recording
from exporter.alerts.evidence import recorded
from exporter.alerts.expression import Writing
from exporter.alerts.rule import Links, Rule
from exporter.config.types import format_duration


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.alerts.settings import AlertingSettings


HEADER = """\
# What Prometheus records and alerts on. Made by `loadfleet-exporter rules`: change the thresholds
# in the configuration and print it anew instead of editing it.
"""

#: Lost scrapes are bridged for so long.
LOOKBACK_SECONDS = 180.0

#: Labels by which Prometheus tells apart processes that watch the same.
WITHOUT = ("instance", "pod", "container", "endpoint", "node", "prometheus_replica")

_RESOURCE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: loadfleet-exporter
spec:
"""

_WIDTH = 100

# MetricsQL's functions of these names count the first sample of a series, too.
_COUNTING = re.compile(r"\b(changes|increase)(?=\()")


class RulesOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a file of rules.

    Attributes:
        writing: How conditions are written.
        links: The addresses that alerts link to.
    """

    writing: Writing
    links: Links

    @classmethod
    def of(
        cls,
        settings: AlertingSettings,
        *,
        lookback: float = LOOKBACK_SECONDS,
        without: tuple[str, ...] = WITHOUT,
        board_url: str = "",
    ) -> Self:
        """Return how the rules of a configuration are written.

        Args:
            settings: The configuration.
            lookback: Seconds for which lost scrapes are bridged.
            without: Labels that tell apart exporters that watch the same.
            board_url: The address of the board; empty if it is not known.
        """
        scale = settings.thresholds.for_scale
        # Without any waiting, windows stay as they are: none can be empty.
        writing = Writing(lookback=lookback * scale, without=without, scale=scale or 1.0)
        links = Links(
            runbook_url=settings.runbook_url,
            board_url=board_url,
            grafana_url=settings.grafana_url or "",
        )
        return cls(writing=writing, links=links)


def rules_file(rules: Iterable[Rule], options: RulesOptions) -> str:
    """Return the file's text: recording rules, then the alerts."""
    writing = options.writing
    # In one group, as its rules are evaluated in their order: alerts read what is recorded.
    alerts = [*_recorded(writing), *(_alert(rule, options) for rule in rules)]
    groups = [*recording.groups(writing), {"name": "loadfleet-alerts", "rules": alerts}]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=_WIDTH)
    return HEADER + text


def prometheus_rule(rules_file: str) -> str:
    """Return the Kubernetes resource around a file of rules; its leading comments stay on top."""
    lines = rules_file.splitlines(keepends=True)
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    comments, groups = "".join(lines[:count]), "".join(lines[count:])
    return comments + _RESOURCE + textwrap.indent(groups, "  ")


def metricsql(rules_file: str) -> str:
    """Return a file of rules that vmalert evaluates as Prometheus evaluates the given one."""
    return _COUNTING.sub(r"\1_prometheus", rules_file)


def _recorded(writing: Writing) -> list[dict[str, Any]]:
    return [
        {"record": name, "expr": expression} | ({"labels": labels} if labels else {})
        for name, expression, labels in recorded(writing)
    ]


def _alert(rule: Rule, options: RulesOptions) -> dict[str, Any]:
    writing = options.writing
    texts = rule.annotations(options.links)
    alert: dict[str, Any] = {"alert": rule.name, "expr": rule.promql(writing)}
    if rule.hold_seconds:
        alert["for"] = format_duration(rule.hold_seconds)
    if rule.keep_seconds:
        alert["keep_firing_for"] = format_duration(rule.keep_seconds)
    alert["labels"] = {"severity": rule.severity.value}
    alert["annotations"] = {name: text.prometheus(writing) for name, text in texts.items()}
    return alert
