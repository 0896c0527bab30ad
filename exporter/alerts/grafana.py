"""The alert table for Grafana-managed alerting: a provisioning file with rules.

Grafana differs from Prometheus in three ways. It does not store the state of its alerts as series,
so a condition cannot ask whether its alert fires. A condition holds only if its value is not 0.
Texts cannot query other series.
"""

from __future__ import annotations

import math
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from exporter.alerts.evidence import recorded
from exporter.alerts.expression import Match, Select
from exporter.alerts.operation import GONE
from exporter.alerts.rule import HEARTBEAT
from exporter.config.types import format_duration


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.alerts.expression import Writing
    from exporter.alerts.formats import RulesOptions
    from exporter.alerts.rule import Rule


HEADER = """\
# Rules that Grafana evaluates. Made by `loadfleet-exporter rules --format=grafana`: change the
# thresholds in the configuration and print it anew instead of editing it. Grafana 12.1.2 or newer.
"""

#: The uid of the data source that the shipped provisioning configures.
DATASOURCE_UID = "prometheus"

_INTERVAL_SECONDS = 60.0

# Conditions are instant queries, but Grafana requires a range.
_RANGE_SECONDS = 600

_WIDTH = 100

# The states of rules while the data source does not answer; other rules keep their state. One alert
# reports that nothing is watched, and the heartbeat stops, so that the service behind it notices.
_UNANSWERED = {GONE: "Alerting", HEARTBEAT: "OK"}


def provisioning(rules: Iterable[Rule], options: RulesOptions, datasource_uid: str) -> str:
    """Return the file's text.

    Args:
        rules: The rules of the table.
        options: The options of the file.
        datasource_uid: The uid of the data source with the exporter's metrics.
    """
    named = groupby(rules, key=attrgetter("name"))
    group = {
        "orgId": 1,
        "name": "loadfleet-alerts",
        "folder": "LoadFleet",
        "interval": format_duration(_INTERVAL_SECONDS),
        "rules": [_rule(list(same), options, datasource_uid) for _, same in named],
    }
    document = {"apiVersion": 1, "groups": [group]}
    text: str = yaml.safe_dump(document, sort_keys=False, width=_WIDTH)
    return HEADER + text


def _rule(same: list[Rule], options: RulesOptions, datasource_uid: str) -> dict[str, Any]:
    """Return rules with the same name as one rule, since titles are unique within a folder."""
    rule = same[0]
    labels = {} if same[1:] else {"severity": rule.severity.value}
    # Grafana cannot distinguish a lost series from a condition that no longer holds. In both cases
    # the alert keeps firing for the same time.
    missing = max(1, math.ceil(rule.keep_seconds / _INTERVAL_SECONDS))
    texts = rule.annotations(options.links)
    return {
        "uid": rule.name,
        "title": rule.name,
        "condition": "B",
        "data": [
            _query(_condition(same, options.writing), datasource_uid),
            # The value of a condition that holds is often 0, which would be no alert.
            _expression("1 || $A"),
        ],
        # A condition without any series does not hold.
        "noDataState": "OK",
        "execErrState": _UNANSWERED.get(rule.name, "KeepLast"),
        "for": format_duration(rule.hold_seconds),
        "keepFiringFor": format_duration(rule.keep_seconds),
        "missing_series_evals_to_resolve": missing,
        "annotations": {name: text.grafana() for name, text in texts.items()},
        "labels": labels,
        "isPaused": False,
    }


def _query(promql: str, datasource_uid: str) -> dict[str, Any]:
    return {
        "refId": "A",
        "relativeTimeRange": {"from": _RANGE_SECONDS, "to": 0},
        "datasourceUid": datasource_uid,
        "model": {
            "refId": "A",
            "datasource": {"type": "prometheus", "uid": datasource_uid},
            "editorMode": "code",
            "expr": promql,
            "instant": True,
            "range": False,
        },
    }


def _expression(text: str) -> dict[str, Any]:
    return {
        "refId": "B",
        "relativeTimeRange": {"from": 0, "to": 0},
        "datasourceUid": "__expr__",
        "model": {
            "refId": "B",
            "datasource": {"type": "__expr__", "uid": "__expr__"},
            "type": "math",
            "expression": text,
        },
    }


def _condition(same: list[Rule], writing: Writing) -> str:
    """Return one condition for rules with the same name; if several, with the severity as label."""
    # Grafana's alerts have no `ALERTS` series in Prometheus.
    writing = msgspec.structs.replace(writing, alerts=False)
    conditions = [_inlined(rule.promql(writing, keep=False), writing) for rule in same]
    if same[1:]:
        conditions = [
            f'label_replace({condition}, "severity", "{rule.severity}", "", "")'
            for rule, condition in zip(same, conditions, strict=True)
        ]
    # The multiplication drops the metric's name, which Grafana would make a label of the alert.
    return f"({' or '.join(conditions)}) * 1"


def _inlined(promql: str, writing: Writing) -> str:
    """Replace recorded metrics by their expressions, as Prometheus may lack the recording rules."""
    # Later recording rules read earlier ones, so the later ones are replaced first.
    for name, made, labels in reversed([*recorded(writing)]):
        matches = tuple(Match(label=label, values=(text,)) for label, text in labels.items())
        selected = Select(metric=name, matches=matches, share=0.0).promql(writing)
        promql = promql.replace(selected, f"({made})")
    return promql
