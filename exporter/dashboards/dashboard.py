"""A dashboard: its variables, annotations and links, and how its panels fill the grid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from exporter.alerts.settings import AlertingSettings
from exporter.alerts.thresholds import RUNBOOK_URL
from exporter.dashboards import states
from exporter.dashboards.panels import COLUMNS, DATA_SOURCE, Panel, Panels
from exporter.dashboards.query import Scope, by, labels_of, on
from exporter.metrics import catalogue as c
from exporter.metrics import own
from exporter.metrics.catalogue import NamedFamily


# By which the dashboards find each other.
_TAG = "loadfleet"

# The variables of every dashboard: each label with the family whose values it offers.
_COMMON: Mapping[str, NamedFamily] = {
    "job": own.BUILD_INFO,
    "provider": c.SOURCE_UP,
    "source": c.SOURCE_UP,
}

# The first variable of every dashboard.
_DATA_SOURCE = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "query": "prometheus",
    "refresh": 1,
}

# Grafana adds it by itself to what is made in its editor.
_BUILT_IN = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}

_LINKS = (
    {
        "type": "dashboards",
        "title": "Load test fleet",
        "tags": [_TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
    },
    {
        "type": "link",
        "title": "Documentation",
        "icon": "doc",
        "url": f"{RUNBOOK_URL.partition('/blob/')[0]}#readme",
        "targetBlank": True,
    },
)


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard.

    Attributes:
        alerting: The alerts' thresholds, and what is changed of them; panels do not link to the
            runbooks of alerts that are off.
        annotations: As Grafana reads them.
        variables: Labels that choose objects, after data source, job, provider and source, each
            with the family whose values it offers.
        sections: The panels line by line, from left to right; those of a line are of one height
            and fill it.
        since: How far back it looks until somebody decides otherwise.
    """

    uid: str
    title: str
    description: str
    alerting: AlertingSettings = AlertingSettings()
    annotations: tuple[dict[str, Any], ...]
    sections: tuple[Panels, ...]
    variables: Mapping[str, NamedFamily] = {}
    since: str = "now-6h"

    def numbered(self) -> list[tuple[int, Panel]]:
        """Return the panels with their ids and titles, without the alerts that are off."""
        alerts = {rule.name for rule in self.alerting.rules()}
        titled = (
            msgspec.structs.replace(
                panel,
                title=title,
                limits=self.alerting.thresholds,
                answers=tuple(name for name in panel.answers if name in alerts),
            )
            for section in self.sections
            for title, panel in section.items()
        )
        return list(enumerate(titled, start=1))

    def text(self, *, runbook_url: str) -> str:
        """Return the file's text."""
        labels = {**_COMMON, **self.variables}
        names = tuple(labels)
        variables = [
            _variable(label, family, before=names[:index])
            for index, (label, family) in enumerate(labels.items())
        ]
        url = f"{runbook_url.rstrip('/')}/"
        panels = []
        left = top = 0
        for number, panel in self.numbered():
            panels.append(panel.json(number=number, x=left, y=top, runbook_url=url))
            left += panel.width
            if left == COLUMNS:
                top += panel.height
                left = 0
        board = {
            "id": None,
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [_TAG],
            # The last number of the classic model: newer Grafanas load it without a migration.
            "schemaVersion": 42,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "1m",
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "links": _LINKS,
            "annotations": {"list": [_BUILT_IN, *self.annotations]},
            "templating": {"list": [_DATA_SOURCE, *variables]},
            "panels": panels,
        }
        return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def _variable(label: str, family: NamedFamily, *, before: tuple[str, ...]) -> dict[str, Any]:
    """Return a choice of a label's values, narrowed by those that come before it."""
    # Only the exporter's own metric tells which jobs are exporters.
    chosen = Scope(before).select(family) if before else family.name
    query = f"label_values({chosen}, {label})"
    return {
        "type": "query",
        "name": label,
        "label": label.title(),
        "datasource": DATA_SOURCE,
        "query": {"query": query, "refId": "StandardVariableQuery"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # A thing without a name is still one of all.
        "allValue": ".+" if label in _COMMON else ".*",
        "current": {"text": ["All"], "value": ["$__all"], "selected": True},
    }


def suite_runs(scope: Scope) -> dict[str, Any]:
    """Annotate the starts of suites' runs."""
    query = scope.each(c.SUITE_CURRENT_RUN_START)
    return _annotation("Suite started", query, "{{suite}} ({{source}})", states.BLUE)


def other_runs(scope: Scope) -> dict[str, Any]:
    """Annotate the starts of runs that belong to no suite."""
    alone = scope.select(c.RUN_INFO, 'suite_id=""')
    query = f"({scope.each(c.RUN_START)} and {on(labels_of(c.RUN_START))} {alone})"
    return _annotation("Run started", query, "{{run}} ({{source}})", states.BLUE)


def restarts(scope: Scope) -> dict[str, Any]:
    """Annotate the starts of agents' software."""
    query = scope.each(c.AGENT_START)
    return _annotation("Agent started", query, "{{agent}} ({{source}})", states.ORANGE)


def reloads(scope: Scope) -> dict[str, Any]:
    """Annotate the times from which on a configuration holds."""
    query = by("max", ("instance",), scope.select(own.RELOAD_SUCCESS_TIMESTAMP))
    return _annotation("Configuration loaded", query, "{{instance}}", "purple")


def _annotation(name: str, query: str, text: str, colour: str) -> dict[str, Any]:
    """Return lines over all panels at the seconds that a query finds."""
    return {
        "name": name,
        "datasource": DATA_SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": f"{query} * 1000",
        "titleFormat": name,
        "textFormat": text,
        "useValueForTime": True,
    }
