"""The kinds of panels, each with the options that make it read well; `tables` has the largest."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from exporter.alerts.thresholds import Thresholds
from exporter.dashboards import states


#: The one data source of all queries: a variable, so that a dashboard fits every Grafana.
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

#: The names of a panel's queries by their places.
REF_IDS = string.ascii_uppercase

#: The width of a dashboard in columns.
COLUMNS = 24


class Panel(msgspec.Struct, frozen=True):
    """A panel without its place.

    Attributes:
        description: What is good and what is bad; unless it says which metrics it comes from, those
            that the panel asks are added.
        instant: Whether only the newest values are asked.
        options: Those of Grafana that are the same for all panels of the type.
        title: Given by the dashboard, as the alerts' limits are.
        queries: By the legend of their series.
        answers: The alerts of the table that this panel explains.
    """

    type: ClassVar[str]
    instant: ClassVar[bool] = False
    options: ClassVar[dict[str, Any]] = {}
    description: str = ""
    title: str = ""
    limits: Thresholds = Thresholds()
    width: int = COLUMNS
    height: int = 8
    queries: Mapping[str, str] = {}
    answers: tuple[str, ...] = ()

    def json(self, *, number: int, x: int, y: int, runbook_url: str) -> dict[str, Any]:
        """Return it as Grafana reads it, with its id and its first column and row."""
        panel: dict[str, Any] = {
            "id": number,
            "type": self.type,
            # The oldest Grafana that shows all of it: panels that name no version are taken for
            # such of a very old one, and converted.
            "pluginVersion": "11.0.0",
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
                "refId": name,
                "datasource": DATA_SOURCE,
                "editorMode": "code",
                "expr": query,
                "legendFormat": legend or "__auto",
                "format": "table" if self.type == "table" else "time_series",
                "instant": self.instant,
                "range": not self.instant,
            }
            for name, (legend, query) in zip(REF_IDS, self._queries(), strict=False)
        ]

    def _queries(self) -> Iterable[tuple[str, str]]:
        """Return the queries, each after the legend of its series."""
        return self.queries.items()

    def _own(self) -> dict[str, Any]:
        """Return what not all types of panels have."""
        raise NotImplementedError

    def _fields(
        self, defaults: dict[str, Any], overrides: Sequence[dict[str, Any]] = ()
    ) -> dict[str, Any]:
        """Return the properties of all fields, and of some."""
        fields = {"defaults": defaults, "overrides": overrides}
        return {"fieldConfig": fields, "options": self.options}


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
    """A number, or a word for it, on a coloured ground."""

    type = "stat"
    instant = True
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "center",
        "textMode": "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    width: int = 6
    height: int = 4
    query: str
    unit: str = "none"
    steps: states.Limits = ((None, states.GREEN),)
    named: states.States = ()

    def _queries(self) -> Iterable[tuple[str, str]]:
        return [("", self.query)]

    def _own(self) -> dict[str, Any]:
        return self._fields(
            {
                "unit": self.unit,
                "noValue": states.NO_DATA,
                "mappings": states.mappings(self.named) if self.named else [],
                "thresholds": states.thresholds(states.steps(self.steps, self.limits)),
                "color": {"mode": "thresholds"},
            }
        )


class TimeSeries(Panel, frozen=True, kw_only=True):
    """Lines over time.

    Attributes:
        steps: Drawn as dashed lines.
        stacked: The series are parts of a whole.
        signed: The values have a sign; else the axis begins at 0.
        named: The series that have a colour of their own.
    """

    type = "timeseries"
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    width: int = 12
    unit: str = "none"
    steps: states.Limits = ()
    stacked: bool = False
    signed: bool = False
    named: states.States = ()

    def _own(self) -> dict[str, Any]:
        steps = states.steps(self.steps, self.limits)
        defaults = {
            "unit": self.unit,
            "noValue": states.NO_DATA,
            **({} if self.signed else {"min": 0}),
            "color": {"mode": "palette-classic"},
            "thresholds": states.thresholds(steps or ((None, states.GREEN),)),
            "custom": {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 60 if self.stacked else 10,
                "showPoints": "auto",
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if steps else "off"},
            },
        }
        fixed = [
            override(state.word, color={"mode": "fixed", "fixedColor": state.colour})
            for state in self.named
        ]
        return self._fields(defaults, fixed)


_BARS = {
    "rowHeight": 0.85,
    "perPage": 20,
    "showValue": "never",
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "single", "sort": "none"},
}


class StateTimeline(Panel, frozen=True, kw_only=True):
    """A bar per object that is coloured by its state over time."""

    type = "state-timeline"
    options = {"alignValue": "left", "mergeValues": True, **_BARS}
    width: int = 12
    named: states.States

    def _own(self) -> dict[str, Any]:
        return self._fields(
            {
                "noValue": states.NO_DATA,
                "mappings": states.mappings(self.named),
                "color": {"mode": "thresholds"},
                "thresholds": states.thresholds(((None, states.GREY),)),
                "custom": {"fillOpacity": 70, "lineWidth": 0},
            }
        )


class StatusHistory(StateTimeline, frozen=True, kw_only=True):
    """A row of cells per object, each coloured by its state at a time."""

    type = "status-history"
    options = {"colWidth": 0.9, **_BARS}

    def _own(self) -> dict[str, Any]:
        # A suite's verdict changes with each run; a cell is as long as a frequent suite's run.
        return {**super()._own(), "interval": "5m", "maxDataPoints": 288}


def override(name: str, **properties: Any) -> dict[str, Any]:
    """Return the properties of one field; `__` in a property's name stands for a dot."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("__", "."), "value": value} for key, value in properties.items()
        ],
    }
