"""The alert table for Prometheus: a rules file, or a `PrometheusRule` for its operator."""

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

#: Seconds for which lost scrapes are bridged: two in a row at an interval of a minute.
LOOKBACK_SECONDS = 180.0

#: Labels that distinguish processes that watch the same targets.
WITHOUT = ("instance", "pod", "container", "endpoint", "node", "prometheus_replica")

_RESOURCE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: loadfleet-exporter
spec:
"""

_WIDTH = 100

# Unlike in PromQL, these functions also count the first sample of a series in MetricsQL, which has
# variants with the suffix `_prometheus` that do not.
_COUNTING = re.compile(r"\b(changes|increase)(?=\()")


class RulesOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a rules file.

    Attributes:
        writing: The options of conditions in PromQL.
        links: The base URLs of links in alerts.
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
        """Return the options for a configuration.

        Args:
            settings: The configuration.
            lookback: Seconds for which lost scrapes are bridged.
            without: Labels that distinguish exporters that watch the same targets.
            board_url: The URL of the board; empty if unknown.
        """
        scale = settings.thresholds.for_scale
        # A scale of 0 does not apply to windows, which cannot be empty.
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
    # In one group, whose rules are evaluated in order, as alerts read recorded metrics.
    alerts = [*_recorded(writing), *(_alert(rule, options) for rule in rules)]
    groups = [*recording.groups(writing), {"name": "loadfleet-alerts", "rules": alerts}]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=_WIDTH)
    return HEADER + text


def prometheus_rule(rules_file: str) -> str:
    """Return the Kubernetes resource with the content of a rules file, its comments on top."""
    lines = rules_file.splitlines(keepends=True)
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    comments, groups = "".join(lines[:count]), "".join(lines[count:])
    return comments + _RESOURCE + textwrap.indent(groups, "  ")


def metricsql(rules_file: str) -> str:
    """Return a rules file that vmalert evaluates as Prometheus evaluates the given one."""
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
