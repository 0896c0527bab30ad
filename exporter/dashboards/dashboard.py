"""A dashboard: its variables, annotations and links, and how its panels fill the grid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from exporter.alerts.rule import PREFIX
from exporter.alerts.thresholds import RUNBOOK_URL, Thresholds
from exporter.dashboards import metrics as m
from exporter.dashboards.metrics import Metric
from exporter.dashboards.panels import COLUMNS, DATA_SOURCE, Panel, Panels
from exporter.dashboards.query import Scope
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import Family


#: The uids of the dashboards, by which they link to each other; a uid never changes.
OVERVIEW = "loadfleet-overview"
AGENTS = "loadfleet-agents"
SUITES = "loadfleet-suites"
EXPORTER = "loadfleet-exporter"
UIDS = (OVERVIEW, AGENTS, SUITES, EXPORTER)

#: The last number of the classic model: newer ones of Grafana load it without a migration.
SCHEMA_VERSION = 42

#: By which the dashboards find each other.
TAG = "loadfleet"

PROJECT_URL = RUNBOOK_URL.partition("/blob/")[0]

# The variables of every dashboard: each label with the metric whose values it offers.
_COMMON: Mapping[str, Family | Metric] = {
    "job": m.BUILD_INFO,
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
)


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The alerts' limits and names, which the dashboards share.

    Attributes:
        alerts: The names of the alerts that the thresholds leave on.
    """

    thresholds: Thresholds
    alerts: tuple[str, ...]

    def answers(self, *endings: str) -> tuple[str, ...]:
        """Return the full names of some alerts, without those that are off.

        Args:
            endings: The names without the prefix that all have.
        """
        names = (f"{PREFIX}{ending}" for ending in endings)
        return tuple(name for name in names if name in self.alerts)


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard.

    Attributes:
        uid: By which others and alerts link to it; it never changes.
        annotations: As Grafana reads them, by the functions of `annotations`.
        variables: Labels that choose objects, after data source, job, provider and source, each
            with the metric whose values it offers.
        sections: The panels line by line, from left to right; those of a line are of one height
            and fill it.
        since: How far back it looks until somebody decides otherwise.
    """

    uid: str
    title: str
    description: str
    annotations: tuple[dict[str, Any], ...]
    sections: tuple[Panels, ...]
    variables: Mapping[str, Family | Metric] = {}
    since: str = "now-6h"

    @property
    def file_name(self) -> str:
        """The file it is in."""
        return f"{self.uid}.json"

    def numbered(self) -> list[tuple[int, Panel]]:
        """Return the panels with their ids."""
        titled = (
            msgspec.structs.replace(panel, title=title)
            for section in self.sections
            for title, panel in section.items()
        )
        return list(enumerate(titled, start=1))

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
            "links": list(_LINKS),
            "annotations": {"list": [_BUILT_IN, *self.annotations]},
            "templating": {"list": self._variables()},
            "panels": self._panels(f"{runbook_url.rstrip('/')}/"),
        }

    def _variables(self) -> list[dict[str, Any]]:
        labels = {**_COMMON, **self.variables}
        names = tuple(labels)
        return [
            _DATA_SOURCE,
            *(
                _variable(label, metric, before=names[:index])
                for index, (label, metric) in enumerate(labels.items())
            ),
        ]

    def _panels(self, runbook_url: str) -> list[dict[str, Any]]:
        panels: list[dict[str, Any]] = []
        left = top = 0
        for number, panel in self.numbered():
            panels.append(panel.json(number=number, x=left, y=top, runbook_url=runbook_url))
            left += panel.width
            if left == COLUMNS:
                top += panel.height
                left = 0
        return panels


def _variable(label: str, metric: Family | Metric, *, before: tuple[str, ...]) -> dict[str, Any]:
    """Return a choice of values of a label as Grafana reads it.

    Args:
        label: It gives the variable its name.
        metric: The values are those of its series.
        before: The variables whose choices narrow this one's.
    """
    # Only the exporter's own metric tells which jobs are exporters.
    chosen = Scope(variables=before).select(metric) if before else metric.name
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


def link(uid: str, label: str, *, named_by: str | None = None) -> str:
    """Return the address of a dashboard that shows the object of a table's row.

    It keeps data source, jobs and time, and chooses the row's source.

    Args:
        uid: The dashboard's.
        label: The label of the row that names the object.
        named_by: The label that names the variable to choose by, if `label` itself does not.
    """
    variable = label if named_by is None else _cell(named_by)
    chosen = (
        "${datasource:queryparam}",
        "${job:queryparam}",
        f"var-source={_cell('source')}",
        f"var-{variable}={_cell(label)}",
        "${__url_time_range}",
    )
    return f"/d/{uid}?{'&'.join(chosen)}"


def _cell(label: str) -> str:
    """Return the place in an address for a label of the row."""
    return f"${{__data.fields.{label}:percentencode}}"
