"""Panels that show numbers and states: each with the options that make it read well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.dashboards import states
from exporter.dashboards.panels import Panel, Steps, Target, coloured, targets, thresholds


if TYPE_CHECKING:
    from collections.abc import Mapping


class Stat(Panel, frozen=True, kw_only=True):
    """A number, or a word for it, on a coloured ground.

    Attributes:
        named: The words for the values, if it is no number.
    """

    type = "stat"
    height: int = 4
    expression: str
    unit: str = "none"
    steps: Steps = ((None, states.GREEN),)
    named: tuple[states.State, ...] = ()

    def own(self) -> dict[str, Any]:
        """Return what a stat is made of."""
        return {
            **targets([Target(self.expression)], instant=True),
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "noValue": states.NO_DATA,
                    "mappings": states.mappings(self.named) if self.named else [],
                    "thresholds": thresholds(self.steps),
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
    targets: tuple[Target, ...]
    unit: str
    steps: Steps = ()
    stacked: bool = False
    signed: bool = False
    colours: Mapping[str, str] = {}

    def own(self) -> dict[str, Any]:
        """Return what lines are made of."""
        return {
            **targets(self.targets, instant=False),
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "noValue": states.NO_DATA,
                    **({} if self.signed else {"min": 0}),
                    "color": {"mode": "palette-classic"},
                    "thresholds": thresholds(self.steps or ((None, states.GREEN),)),
                    "custom": {
                        "drawStyle": "line",
                        "lineWidth": 1,
                        "fillOpacity": 60 if self.stacked else 10,
                        "showPoints": "auto",
                        "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                        "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
                    },
                },
                "overrides": coloured(self.colours),
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
        named: The words for the values.
    """

    type = "state-timeline"
    width: int = 12
    target: Target
    named: tuple[states.State, ...]

    def own(self) -> dict[str, Any]:
        """Return what bars are made of."""
        return {
            **targets([self.target], instant=False),
            "fieldConfig": {
                "defaults": {
                    "noValue": states.NO_DATA,
                    "mappings": states.mappings(self.named),
                    "color": {"mode": "thresholds"},
                    "thresholds": thresholds(((None, states.GREY),)),
                    "custom": {"fillOpacity": 70, "lineWidth": 0},
                },
                "overrides": [],
            },
            "options": self.shape()
            | {
                "rowHeight": 0.85,
                "perPage": 20,
                "showValue": "never",
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "single", "sort": "none"},
            },
        }

    def shape(self) -> dict[str, Any]:
        """Return the options that only bars have."""
        return {"alignValue": "left", "mergeValues": True}


class StatusHistory(StateTimeline, frozen=True, kw_only=True):
    """A row of cells per object, each coloured by its state at a time.

    Attributes:
        cell: How long a cell is, at the least.
        cells: How many there are, at the most.
    """

    type = "status-history"
    cell: str
    cells: int

    def own(self) -> dict[str, Any]:
        """Return what cells are made of."""
        return {**super().own(), "interval": self.cell, "maxDataPoints": self.cells}

    def shape(self) -> dict[str, Any]:
        """Return the options that only cells have."""
        return {"colWidth": 0.9}
