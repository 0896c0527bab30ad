"""A dashboard: its variables, its annotations, and the layout of its panels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from exporter.dashboards import query as q
from exporter.dashboards import states
from exporter.dashboards.panels import Json, Panel
from exporter.dashboards.states import SHAPES
from exporter.metrics import catalogue as c
from exporter.metrics import own
from exporter.metrics.catalogue import NamedFamily


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from exporter.alerts.settings import AlertingSettings


#: The width of a dashboard in columns.
COLUMNS = 24

# The variables of every dashboard: labels with the family from which their values are taken.
_COMMON: Mapping[str, NamedFamily] = {
    "job": own.BUILD_INFO,
    "provider": c.SOURCE_UP,
    "source": c.SOURCE_UP,
}


def _mark(name: str, query: str, text: str, colour: str) -> Json:
    """Return an annotation: lines in all panels at the Unix times that a query returns."""
    head = {"name": name, "iconColor": colour, "titleFormat": name, "textFormat": text}
    return {**SHAPES["mark"], **head, "expr": f"{query} * 1000"}


_alone = q.select(c.RUN_INFO, 'suite_id=""')
_other = f"({q.each(c.RUN_START)} and {q.on((*c.COMMON_LABELS, 'run_id'))} {_alone})"
_loaded = q.by("max", ("instance",), q.select(own.RELOAD_SUCCESS_TIMESTAMP))
_suite = q.each(c.SUITE_CURRENT_RUN_START)

SUITES = _mark("Suite started", _suite, "{{suite}} ({{source}})", states.BLUE)
RUNS = _mark("Run started", _other, "{{run}} ({{source}})", states.BLUE)
STARTS = _mark("Agent started", q.each(c.AGENT_START), "{{agent}} ({{source}})", states.ORANGE)
RELOADS = _mark("Configuration loaded", _loaded, "{{instance}}", "purple")


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard.

    Attributes:
        variables: Labels to filter by, after job, provider and source, each with the family from
            which its values are taken.
        since: The beginning of the default time range.
        marks: The annotations.
        panels: The panels from left to right, line by line. The panels of a line have the same
            height and fill its width.
    """

    uid: str
    title: str
    description: str
    variables: Mapping[str, NamedFamily] = {}
    since: str = "now-6h"
    marks: tuple[Json, ...]
    panels: tuple[Panel, ...]

    def json(self, alerting: AlertingSettings) -> Json:
        """Return the dashboard in Grafana's JSON model.

        Panels link to the runbooks of the alerts that are switched on.
        """
        variables = {**_COMMON, **self.variables}
        marks = (mark | {"expr": q.chosen(mark["expr"], variables)} for mark in self.marks)
        choices = (SHAPES["data source variable"], *_choices(variables), *SHAPES["other variables"])
        return {
            **SHAPES["board"],
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "time": {"from": self.since, "to": "now"},
            "annotations": {"list": [SHAPES["built-in mark"], *marks]},
            "templating": {"list": choices},
            "panels": list(self._placed(variables, alerting)),
        }

    def text(self, alerting: AlertingSettings) -> str:
        """Return the text of the dashboard's file."""
        return json.dumps(self.json(alerting), indent=2, ensure_ascii=False) + "\n"

    def _placed(self, variables: Collection[str], alerting: AlertingSettings) -> Iterator[Json]:
        alerts = {rule.name for rule in alerting.rules()}
        url = alerting.runbook_url.rstrip("/")
        left = top = 0
        for number, panel in enumerate(self.panels, start=1):
            place = {"x": left, "y": top} | panel.json["gridPos"]
            found = panel.json | {"id": number, "gridPos": place}
            if targets := panel.json.get("targets"):
                found["targets"] = [
                    target | {"expr": q.chosen(target["expr"], variables)} for target in targets
                ]
            if answers := [name for name in panel.answers if name in alerts]:
                found["links"] = [
                    {"title": f"Runbook: {name}", "url": f"{url}/{name}.md", "targetBlank": True}
                    for name in answers
                ]
            yield found
            left += place["w"]
            if left >= COLUMNS:
                left, top = 0, top + place["h"]


def _choices(labels: Mapping[str, NamedFamily]) -> Iterator[Json]:
    """Yield a variable for each label, whose values the variables before it restrict."""
    names = tuple(labels)
    for index, (label, family) in enumerate(labels.items()):
        # The first variable, the job, takes the jobs that have the exporter's build info.
        chosen = q.chosen(q.select(family), names[:index]) if index else family.name
        query = f"label_values({chosen}, {label})"
        yield SHAPES["query variable"] | {
            "name": label,
            "label": label.title(),
            "query": {"query": query, "refId": "StandardVariableQuery"},
            "definition": query,
            # "All" includes objects whose name is empty.
            "allValue": ".+" if label in _COMMON else ".*",
        }
