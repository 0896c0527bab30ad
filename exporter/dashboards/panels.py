"""The kinds of panels, each with the options that make it read well; `tables` has the largest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from exporter.dashboards import states


#: The one data source of all queries: a variable, so that a dashboard fits every Grafana.
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

#: The oldest Grafana that shows all of it. Panels that name no version are taken for such of a
#: very old one, and converted.
OLDEST = "11.0.0"

#: The width of a dashboard in columns.
COLUMNS = 24


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A panel without its place.

    Attributes:
        type: One of Grafana's core types.
        instant: Whether only the newest values are asked.
        format: Whether the labels of what is asked become columns.
        title: Given by the dashboard.
        description: What is good and what is bad; unless it says which metrics it comes from, those
            that the panel asks are added.
        queries: By the legend of their series.
        answers: The alerts of the table that this panel explains.
    """

    type: ClassVar[str]
    instant: ClassVar[bool] = False
    format: ClassVar[str] = "time_series"
    title: str = ""
    description: str = ""
    width: int = COLUMNS
    height: int = 8
    queries: Mapping[str, str] = {}
    answers: tuple[str, ...] = ()

    def json(self, *, number: int, x: int, y: int, runbook_url: str) -> dict[str, Any]:
        """Return it as Grafana reads it.

        Args:
            number: Its id.
            x: Its first column.
            y: Its first row.
            runbook_url: Where the runbooks are served.
        """
        panel: dict[str, Any] = {
            "id": number,
            "type": self.type,
            "pluginVersion": OLDEST,
            "title": self.title,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
        }
        if self.description:
            panel["description"] = self._text()
        if self.answers:
            panel["links"] = [
                {"title": f"Runbook: {name}", "url": f"{runbook_url}{name}.md", "targetBlank": True}
                for name in self.answers
            ]
        if targets := self._targets():
            panel |= {"datasource": DATA_SOURCE, "targets": targets}
        return panel | self._own()

    def _text(self) -> str:
        # Every selector has braces, because it chooses by labels.
        asked = re.findall(r"(\w+){", " ".join(query for _, query in self._queries()))
        if not asked or " From `" in self.description:
            return self.description
        names = " and ".join(f"`{name}`" for name in dict.fromkeys(asked))
        return f"{self.description} From {names}."

    def _targets(self) -> list[dict[str, Any]]:
        return [
            {
                "refId": ref_id(index),
                "datasource": DATA_SOURCE,
                "editorMode": "code",
                "expr": query,
                "legendFormat": legend or "__auto",
                "format": self.format,
                "instant": self.instant,
                "range": not self.instant,
            }
            for index, (legend, query) in enumerate(self._queries())
        ]

    def _queries(self) -> Iterable[tuple[str, str]]:
        """Return the queries, each after the legend of its series."""
        return self.queries.items()

    def _own(self) -> dict[str, Any]:
        """Return the fields that only this type of panel has."""
        raise NotImplementedError


#: Panels by their titles.
Panels = Mapping[str, Panel]


class Row(Panel, frozen=True, kw_only=True):
    """A heading over the panels that follow; it is open, so that they stand beside it."""

    type = "row"
    height: int = 1

    def _own(self) -> dict[str, Any]:
        return {"collapsed": False, "panels": []}


class Text(Panel, frozen=True, kw_only=True):
    """A panel of Markdown."""

    type = "text"
    content: str

    def _own(self) -> dict[str, Any]:
        return {"options": {"mode": "markdown", "content": self.content}}


class Stat(Panel, frozen=True, kw_only=True):
    """A number, or a word for it, on a coloured ground.

    Attributes:
        named: The words for the values, if it is no number.
    """

    type = "stat"
    instant = True
    height: int = 4
    query: str
    unit: str = "none"
    steps: states.Steps = ((None, states.GREEN),)
    named: tuple[states.State, ...] = ()

    def _queries(self) -> Iterable[tuple[str, str]]:
        return [("", self.query)]

    def _own(self) -> dict[str, Any]:
        return {
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "noValue": states.NO_DATA,
                    "mappings": states.mappings(self.named) if self.named else [],
                    "thresholds": states.thresholds(self.steps),
                    "color": {"mode": "thresholds"},
                },
                "overrides": [],
            },
            "options": {
                "colorMode": "background",
                "graphMode": "none",
                "justifyMode": "center",
                "textMode": "value",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        }


class TimeSeries(Panel, frozen=True, kw_only=True):
    """Lines over time.

    Attributes:
        steps: Drawn as dashed lines.
        stacked: The series are parts of a whole.
        signed: The values have a sign; else the axis begins at 0.
        colours: Of series that have a name of their own.
    """

    type = "timeseries"
    width: int = 12
    unit: str = "none"
    steps: states.Steps = ()
    stacked: bool = False
    signed: bool = False
    colours: Mapping[str, str] = {}

    def _own(self) -> dict[str, Any]:
        return {
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "noValue": states.NO_DATA,
                    **({} if self.signed else {"min": 0}),
                    "color": {"mode": "palette-classic"},
                    "thresholds": states.thresholds(self.steps or ((None, states.GREEN),)),
                    "custom": {
                        "drawStyle": "line",
                        "lineWidth": 1,
                        "fillOpacity": 60 if self.stacked else 10,
                        "showPoints": "auto",
                        "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                        "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
                    },
                },
                "overrides": [
                    override(name, color={"mode": "fixed", "fixedColor": colour})
                    for name, colour in self.colours.items()
                ],
            },
            "options": {
                "legend": {
                    "displayMode": "table",
                    "placement": "bottom",
                    "showLegend": True,
                    "calcs": ["lastNotNull", "max"],
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
        }


class StateTimeline(Panel, frozen=True, kw_only=True):
    """A bar per object that is coloured by its state over time.

    Attributes:
        shape: The options that only bars have.
        named: The words for the values.
    """

    type = "state-timeline"
    shape: ClassVar[Mapping[str, Any]] = {"alignValue": "left", "mergeValues": True}
    width: int = 12
    named: tuple[states.State, ...]

    def _own(self) -> dict[str, Any]:
        return {
            "fieldConfig": {
                "defaults": {
                    "noValue": states.NO_DATA,
                    "mappings": states.mappings(self.named),
                    "color": {"mode": "thresholds"},
                    "thresholds": states.thresholds(((None, states.GREY),)),
                    "custom": {"fillOpacity": 70, "lineWidth": 0},
                },
                "overrides": [],
            },
            "options": {
                **self.shape,
                "rowHeight": 0.85,
                "perPage": 20,
                "showValue": "never",
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "single", "sort": "none"},
            },
        }


class StatusHistory(StateTimeline, frozen=True, kw_only=True):
    """A row of cells per object, each coloured by its state at a time."""

    type = "status-history"
    shape: ClassVar[Mapping[str, Any]] = {"colWidth": 0.9}

    def _own(self) -> dict[str, Any]:
        # A suite's verdict changes with each run; a cell is as long as a frequent suite's run.
        return {**super()._own(), "interval": "5m", "maxDataPoints": 288}


def ref_id(index: int) -> str:
    """Return the name of a panel's query by its place."""
    return chr(ord("A") + index)


def override(name: str, **properties: Any) -> dict[str, Any]:
    """Return the properties of one field; `__` in a property's name stands for a dot."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("__", "."), "value": value} for key, value in properties.items()
        ],
    }
