"""Tables: one row per object, one query per column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from exporter.dashboards import states
from exporter.dashboards.panels import REF_IDS, Panel, override


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.alerts.thresholds import Thresholds


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

_DEFAULTS = {
    "unit": "none",
    "noValue": states.NO_DATA,
    "color": {"mode": "thresholds"},
    "thresholds": states.thresholds(((None, "text"),)),
    "custom": {"align": "auto", "filterable": True, "cellOptions": {"type": "auto"}},
}

# A cell that is coloured all over.
_GROUND = {"type": "color-background", "mode": "basic"}


class Column(msgspec.Struct, frozen=True):
    """A query whose values are a column.

    Attributes:
        unit: Grafana's name of the unit.
        named: The words for the values, if they are no numbers.
        steps: Colours of the text by value.
        limit: Infinity means that there is no limit.
        hidden: Only the query's labels are wanted.
    """

    title: str
    query: str
    unit: str = "none"
    named: states.States = ()
    steps: states.Limits = ()
    limit: bool = False
    hidden: bool = False

    def properties(self, limits: Thresholds) -> dict[str, Any]:
        """Return the properties in which it differs from other fields."""
        properties: dict[str, Any] = {"displayName": self.title, "noValue": "-"}
        if self.named:
            properties["mappings"] = states.mappings(self.named)
            properties["custom__cellOptions"] = _GROUND
        else:
            properties["unit"] = self.unit
        if self.limit:
            properties["mappings"] = [_UNLIMITED]
        if steps := states.steps(self.steps, limits):
            properties["thresholds"] = states.thresholds(steps)
            properties["custom__cellOptions"] = {"type": "color-text"}
        return properties


class Table(Panel, frozen=True, kw_only=True):
    """A row per object with its newest values.

    All queries must have the labels that tell the rows apart; what only one has is a column too.

    Attributes:
        labels: The labels that are shown, in their order.
        hidden: The labels that are not.
        links: Where the cells of a label lead.
        sort: By which field, downwards if a minus stands before it.
        empty: What is said when there is no row.
    """

    type = "table"
    instant = True
    options: ClassVar = {"cellHeight": "sm", "showHeader": True}
    height: int = 9
    columns: tuple[Column, ...]
    labels: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    links: Mapping[str, str] = {}
    sort: str = "-Value #A"
    empty: str = states.NO_DATA

    def _queries(self) -> Iterable[tuple[str, str]]:
        return (("", column.query) for column in self.columns)

    def _own(self) -> dict[str, Any]:
        # Grafana calls the values so when only one query has found something.
        only = "Value"
        fields = {
            f"Value #{name}": column for name, column in zip(REF_IDS, self.columns, strict=False)
        }
        unwanted = [field for field, column in fields.items() if column.hidden]
        overrides = [
            *(override(name, **self._label(name)) for name in self.labels),
            *(
                override(field, **column.properties(self.limits))
                for field, column in {only: self.columns[0], **fields}.items()
                if field not in unwanted
            ),
        ]
        order = ("Time", *self.labels, *self.hidden, only, *fields)
        organised = {
            "excludeByName": dict.fromkeys(("Time", *self.hidden, *unwanted), True),
            "indexByName": {name: index for index, name in enumerate(order)},
            "renameByName": {},
        }
        sorting = {"field": self.sort.lstrip("-"), "desc": self.sort.startswith("-")}
        return {
            **self._fields(_DEFAULTS | {"noValue": self.empty}, overrides),
            "transformations": [
                {"id": "merge", "options": {}},
                {"id": "organize", "options": organised},
                {"id": "sortBy", "options": {"sort": [sorting]}},
            ],
        }

    def _label(self, name: str) -> dict[str, Any]:
        shown = _CALLED.get(name) or name.replace("_", " ").capitalize()
        properties: dict[str, Any] = {"displayName": shown, "noValue": "-"}
        if name in self.links:
            properties["links"] = [{"title": f"{shown} in detail", "url": self.links[name]}]
        if name == "severity":
            properties["mappings"] = [states.mapping(states.SEVERITY)]
            properties["custom__cellOptions"] = _GROUND
        return properties


def link(uid: str, label: str, *, named_by: str = "") -> str:
    """Return the address of a dashboard that shows the object of a row alone.

    It keeps data source, jobs and time, and chooses the row's source. The variable that chooses
    the object is named as the label with its name is, or by what another label says.
    """
    cell = "${{__data.fields.{}:percentencode}}".format
    variable = cell(named_by) if named_by else label
    kept = "${datasource:queryparam}&${job:queryparam}"
    chosen = f"var-source={cell('source')}&var-{variable}={cell(label)}"
    return f"/d/{uid}?{kept}&{chosen}&${{__url_time_range}}"
