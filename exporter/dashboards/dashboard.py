"""A dashboard: its variables, annotations and links, and how its panels fill the grid."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from exporter.alerts.thresholds import RUNBOOK_URL, Thresholds
from exporter.dashboards import metrics as m
from exporter.dashboards.metrics import Metric
from exporter.dashboards.panels import COLUMNS, DATA_SOURCE, Panel
from exporter.dashboards.query import Scope
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import Family


#: The last number of the classic model: newer ones of Grafana load it without a migration.
SCHEMA_VERSION = 42

#: By which the dashboards find each other.
TAG = "loadfleet"

PROJECT_URL = RUNBOOK_URL.partition("/blob/")[0]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the dashboards share with the alerts.

    Attributes:
        alerts: The names of the rows of the table that the thresholds leave on.
    """

    thresholds: Thresholds
    alerts: tuple[str, ...]

    def answers(self, *names: str) -> tuple[str, ...]:
        """Return which of some alerts there are."""
        return tuple(name for name in names if name in self.alerts)


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A choice of values of a label; it has the label's name."""

    label: str
    title: str
    metric: Family | Metric

    def json(self, scope: Scope) -> dict[str, Any]:
        """Return it as Grafana reads it.

        Args:
            scope: What the variables before it choose.
        """
        # Only the exporter's own metric tells which jobs are exporters.
        chosen = self.metric.name if self.label == "job" else scope.select(self.metric)
        query = f"label_values({chosen}, {self.label})"
        # A thing without a name is still one of all.
        everything = ".+" if self in _COMMON else ".*"
        return {
            "type": "query",
            "name": self.label,
            "label": self.title,
            "datasource": DATA_SOURCE,
            "query": {"query": query, "refId": "StandardVariableQuery"},
            "definition": query,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": everything,
            "current": {"text": ["All"], "value": ["$__all"], "selected": True},
        }


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """Marks at the times that are the values of a query, in milliseconds.

    Attributes:
        enabled: Whether they are shown until somebody decides otherwise.
    """

    name: str
    expression: str
    title: str
    colour: str
    enabled: bool = True

    def json(self) -> dict[str, Any]:
        """Return it as Grafana reads it."""
        return {
            "name": self.name,
            "datasource": DATA_SOURCE,
            "enable": self.enabled,
            "hide": False,
            "iconColor": self.colour,
            "expr": self.expression,
            "titleFormat": self.name,
            "textFormat": self.title,
            "useValueForTime": True,
        }


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard.

    Attributes:
        uid: By which others and alerts link to it; it never changes.
        variables: Those of objects, after data source, job, provider and source.
        rows: The panels from top to bottom, those of a row side by side.
        since: How far back it looks until somebody decides otherwise.
    """

    uid: str
    title: str
    description: str
    rows: tuple[tuple[Panel, ...], ...]
    variables: tuple[Variable, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    since: str = "now-6h"

    @property
    def file_name(self) -> str:
        """The file it is in."""
        return f"{self.uid}.json"

    def numbered(self) -> list[tuple[int, Panel]]:
        """Return the panels with their ids."""
        return list(enumerate((panel for row in self.rows for panel in row), start=1))

    def text(self, *, runbook_url: str) -> str:
        """Return the file's text."""
        return json.dumps(self.json(runbook_url=runbook_url), indent=2, ensure_ascii=False) + "\n"

    def json(self, *, runbook_url: str) -> dict[str, Any]:
        """Return it as Grafana reads it."""
        return {
            "id": None,
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "1m",
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "links": _links(),
            "annotations": {"list": [_BUILT_IN, *(each.json() for each in self.annotations)]},
            "templating": {"list": self._variables()},
            "panels": self._panels(f"{runbook_url.rstrip('/')}/"),
        }

    def _variables(self) -> list[dict[str, Any]]:
        first = {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "refresh": 1,
        }
        built: list[dict[str, Any]] = [first]
        chosen: tuple[str, ...] = ()
        for variable in (*_COMMON, *self.variables):
            built.append(variable.json(Scope(variables=chosen)))
            chosen = (*chosen, variable.label)
        return built

    def _panels(self, runbook_url: str) -> list[dict[str, Any]]:
        numbers = iter(self.numbered())
        panels: list[dict[str, Any]] = []
        top = 0
        for row in self.rows:
            left = 0
            for panel in row:
                number, _ = next(numbers)
                panels.append(panel.json(number=number, x=left, y=top, runbook_url=runbook_url))
                left += panel.width
            if left != COLUMNS or len({panel.height for panel in row}) != 1:
                raise ValueError(f"{self.title}: {[panel.title for panel in row]} fill no row")
            top += row[0].height
        return panels


_COMMON = (
    Variable(label="job", title="Job", metric=m.BUILD_INFO),
    Variable(label="provider", title="Provider", metric=c.SOURCE_UP),
    Variable(label="source", title="Source", metric=c.SOURCE_UP),
)

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


def _links() -> list[dict[str, Any]]:
    return [
        {
            "type": "dashboards",
            "title": "Load test fleet",
            "tags": [TAG],
            "asDropdown": False,
            "includeVars": True,
            "keepTime": True,
        },
        {
            "type": "link",
            "title": "Documentation",
            "icon": "doc",
            "url": f"{PROJECT_URL}#readme",
            "targetBlank": True,
        },
    ]


def link(uid: str, **chosen: str) -> str:
    """Return the address of a dashboard that shows what a row of a table is about.

    Args:
        uid: The dashboard's.
        chosen: Variables, and the label of the row that each takes its value from.
    """
    values = {name: f"var-{name}={cell(label)}" for name, label in chosen.items()}
    return address(uid, *values.values())


def address(uid: str, *values: str) -> str:
    """Return the address of a dashboard with the same data source, jobs and time.

    Args:
        uid: The dashboard's.
        values: Other variables' values as in a query string.
    """
    kept = ("${datasource:queryparam}", "${job:queryparam}")
    return f"/d/{uid}?{'&'.join((*kept, *values))}&${{__url_time_range}}"


def cell(label: str) -> str:
    """Return the place in an address for a label of the row."""
    return f"${{__data.fields.{label}:percentencode}}"
