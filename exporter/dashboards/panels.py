"""The kinds of panels, each with the options that make it read well; `tables` has the largest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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
        title: Given by the dashboard.
        description: What is good and what is bad; unless it says which metrics it comes from, those
            that the panel asks are added.
        answers: The alerts of the table that this panel explains.
    """

    type: ClassVar[str]
    title: str = ""
    description: str = ""
    width: int = COLUMNS
    height: int = 8
    answers: tuple[str, ...] = ()

    def json(self, *, number: int, x: int, y: int, runbook_url: str) -> dict[str, Any]:
        """Return it as Grafana reads it.

        Args:
            number: Its id.
            x: Its first column.
            y: Its first row.
            runbook_url: Where the runbooks are served.
        """
        own = self._own()
        panel: dict[str, Any] = {
            "id": number,
            "type": self.type,
            "pluginVersion": OLDEST,
            "title": self.title,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
        }
        if self.description:
            asked = [target["expr"] for target in own.get("targets", ())]
            panel["description"] = _with_metrics(self.description, asked)
        if self.answers:
            panel["links"] = [
                {"title": f"Runbook: {name}", "url": f"{runbook_url}{name}.md", "targetBlank": True}
                for name in self.answers
            ]
        return panel | own

    def _own(self) -> dict[str, Any]:
        """Return what this type of panel has beside the common fields."""
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
    height: int = 4
    query: str
    unit: str = "none"
    steps: states.Steps = ((None, states.GREEN),)
    named: tuple[states.State, ...] = ()

    def _own(self) -> dict[str, Any]:
        return {
            **targets([("", self.query)], instant=True),
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
        queries: By the legend of their series.
        steps: Drawn as dashed lines.
        stacked: The series are parts of a whole.
        signed: The values have a sign; else the axis begins at 0.
        colours: Of series that have a name of their own.
    """

    type = "timeseries"
    width: int = 12
    queries: Mapping[str, str]
    unit: str = "none"
    steps: states.Steps = ()
    stacked: bool = False
    signed: bool = False
    colours: Mapping[str, str] = {}

    def _own(self) -> dict[str, Any]:
        return {
            **targets(self.queries.items(), instant=False),
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
        queries: By the legend of their series.
        named: The words for the values.
    """

    type = "state-timeline"
    shape: ClassVar[Mapping[str, Any]] = {"alignValue": "left", "mergeValues": True}
    width: int = 12
    queries: Mapping[str, str]
    named: tuple[states.State, ...]

    def _own(self) -> dict[str, Any]:
        return {
            **targets(self.queries.items(), instant=False),
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


def targets(
    queries: Iterable[tuple[str, str]], *, instant: bool, table: bool = False
) -> dict[str, Any]:
    """Return the fields of a panel that ask for something.

    Args:
        queries: What is asked, each after the legend of its series.
        instant: Whether only the newest values are.
        table: Whether labels become columns.
    """
    return {
        "datasource": DATA_SOURCE,
        "targets": [
            {
                "refId": ref_id(index),
                "datasource": DATA_SOURCE,
                "editorMode": "code",
                "expr": query,
                "legendFormat": legend or "__auto",
                "format": "table" if table else "time_series",
                "instant": instant,
                "range": not instant,
            }
            for index, (legend, query) in enumerate(queries)
        ],
    }


def _with_metrics(description: str, queries: Sequence[str]) -> str:
    if not queries or " From `" in description:
        return description
    # Every selector has braces, for every one obeys a variable.
    names = dict.fromkeys(re.findall(r"(\w+){", " ".join(queries)))
    listed = " and ".join(f"`{name}`" for name in names)
    return f"{description} From {listed}."


def ref_id(index: int) -> str:
    """Return the name of a panel's query by its place."""
    return chr(ord("A") + index)


def override(name: str, **properties: Any) -> dict[str, Any]:
    """Return what is different for a field; `__` in a property's name stands for a dot."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("__", "."), "value": value} for key, value in properties.items()
        ],
    }
