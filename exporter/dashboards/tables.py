"""Tables: one row per object, one query per column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.dashboards import states
from exporter.dashboards.panels import Panel, override, ref_id


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# No limit is an infinite one; the largest number that JSON can write stands in for it.
_UNLIMITED = {
    "type": "range",
    "options": {"from": 1e308, "to": None, "result": {"text": "unlimited", "index": 0}},
}

# What labels are called that are not called by their names.
_CALLED = {
    "agent_cluster": "Cluster",
    "alertname": "Alert",
    "instance": "Exporter",
    "object": "Machine",
}

# What a cell without a value says.
_NOTHING = "-"

# A cell that is coloured all over.
_GROUND = {"type": "color-background", "mode": "basic"}

# Grafana calls the values so when only one query of a table has found something.
_ONLY_VALUE = "Value"


class Column(msgspec.Struct, frozen=True):
    """A query whose values are a column.

    Attributes:
        unit: Grafana's name of the unit; without it and words only the query's labels are wanted.
        named: The words for the values, if they are no numbers.
        steps: Colours of the text by value.
        limit: Infinity means that there is no limit.
    """

    title: str
    query: str
    unit: str = ""
    named: tuple[states.State, ...] = ()
    steps: states.Steps = ()
    limit: bool = False

    @property
    def hidden(self) -> bool:
        """Only the labels are wanted."""
        return not self.unit and not self.named

    def properties(self) -> dict[str, Any]:
        """Return the properties in which it differs from other fields."""
        properties: dict[str, Any] = {"displayName": self.title, "noValue": _NOTHING}
        if self.named:
            properties["mappings"] = states.mappings(self.named)
            properties["custom__cellOptions"] = _GROUND
        else:
            properties["unit"] = self.unit
        if self.limit:
            properties["mappings"] = [_UNLIMITED]
        if self.steps:
            properties["thresholds"] = states.thresholds(self.steps)
            properties["custom__cellOptions"] = {"type": "color-text"}
        return properties


class Table(Panel, frozen=True, kw_only=True):
    """A row per object with its newest values.

    All queries must have the labels that tell the rows apart; what only one has is a column too.

    Attributes:
        labels: The labels that are shown, in their order.
        hidden: The labels that are not.
        links: Where the cells of a label lead.
        words: The colours of a label's values.
        sort: By which field, downwards if a minus stands before it.
        empty: What is said when there is no row.
    """

    type = "table"
    instant = True
    format = "table"
    height: int = 9
    columns: tuple[Column, ...]
    labels: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    links: Mapping[str, str] = {}
    words: Mapping[str, Mapping[str, str]] = {}
    sort: str
    empty: str = states.NO_DATA

    def _queries(self) -> Iterable[tuple[str, str]]:
        return (("", column.query) for column in self.columns)

    def _own(self) -> dict[str, Any]:
        return {
            "fieldConfig": {
                "defaults": {
                    "unit": "none",
                    "noValue": self.empty,
                    "color": {"mode": "thresholds"},
                    "thresholds": states.thresholds(((None, "text"),)),
                    "custom": {
                        "align": "auto",
                        "filterable": True,
                        "cellOptions": {"type": "auto"},
                    },
                },
                "overrides": [
                    *(override(name, **self._label(name)) for name in self.labels),
                    override(_ONLY_VALUE, **self.columns[0].properties()),
                    *(
                        override(field, **column.properties())
                        for field, column in self._fields().items()
                        if not column.hidden
                    ),
                ],
            },
            "options": {"cellHeight": "sm", "showHeader": True},
            "transformations": self._transformations(),
        }

    def _fields(self) -> dict[str, Column]:
        return {f"Value #{ref_id(index)}": column for index, column in enumerate(self.columns)}

    def _label(self, name: str) -> dict[str, Any]:
        shown = _CALLED.get(name) or name.replace("_", " ").capitalize()
        properties: dict[str, Any] = {"displayName": shown, "noValue": _NOTHING}
        if name in self.links:
            properties["links"] = [{"title": f"{shown} in detail", "url": self.links[name]}]
        if name in self.words:
            properties["mappings"] = states.words(self.words[name])
            properties["custom__cellOptions"] = _GROUND
        return properties

    def _transformations(self) -> list[dict[str, Any]]:
        fields = self._fields()
        unwanted = [field for field, column in fields.items() if column.hidden]
        order = ("Time", *self.labels, *self.hidden, _ONLY_VALUE, *fields)
        organised = {
            "excludeByName": dict.fromkeys(("Time", *self.hidden, *unwanted), True),
            "indexByName": {name: index for index, name in enumerate(order)},
            "renameByName": {},
        }
        sorting = {"field": self.sort.lstrip("-"), "desc": self.sort.startswith("-")}
        return [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": organised},
            {"id": "sortBy", "options": {"sort": [sorting]}},
        ]
