"""Panels, made by a helper per type; `grafana.json` has what all panels of a type share."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.alerts.rule import PREFIX
from exporter.dashboards import states


if TYPE_CHECKING:
    from collections.abc import Iterable


Json = dict[str, Any]

#: What is the same in all dashboards, and in all panels of a type, as Grafana reads it.
SHAPES: Mapping[str, Any] = json.loads(files(__package__).joinpath("grafana.json").read_text())

DATA_SOURCE = SHAPES["target"]["datasource"]

# The ending of a description that depends on recorded series, whose names have colons.
_RULES = " Needs the recording rules that `loadfleet-exporter rules` prints."


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A panel as Grafana reads it, but for its place and for what its dashboard's variables choose.

    Attributes:
        answers: The alerts of the table that this panel explains.
    """

    json: Json
    answers: tuple[str, ...] = ()


class Column(msgspec.Struct, frozen=True):
    """A query whose values are a column of a table.

    Attributes:
        unit: Grafana's name of the unit.
        named: The words for the values, if they are no numbers.
        steps: Colours of the text by value.
        hidden: Only the query's labels are wanted.
    """

    title: str
    query: str
    unit: str = "none"
    named: states.States = ()
    steps: states.Steps = ()
    hidden: bool = False


def overlaid(shape: Mapping[str, Any], more: Mapping[str, Any]) -> Json:
    """Return a shape with more in it, which counts where both say something."""
    found = dict(shape)
    for name, value in more.items():
        deeper = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = overlaid(found[name], value) if deeper else value
    return found


def override(name: str, *, by: str = "byName", **properties: Any) -> Json:
    """Return the properties of a field; `__` in a property's name stands for a dot."""
    found = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": by, "options": name}, "properties": found}


def heading(title: str) -> Panel:
    """Head the lines that follow; it is open, so that they can be seen."""
    return _panel("row", title)


def text(title: str, description: str, content: str, **given: Any) -> Panel:
    """Show Markdown."""
    return _panel("text", title, description, options={"content": content}, **given)


def stat(
    title: str,
    description: str,
    query: str,
    steps: states.Steps = ((None, states.GREEN),),
    *,
    unit: str = "none",
    named: states.States = (),
    **given: Any,
) -> Panel:
    """Show a number, or a word for it, on a coloured ground."""
    defaults = {"unit": unit, "thresholds": states.thresholds(steps)}
    defaults |= {"mappings": states.mappings(named)} if named else {}
    return _panel("stat", title, description, [("", query)], fields=(defaults, []), **given)


def series(
    title: str,
    description: str,
    queries: Mapping[str, str],
    unit: str = "none",
    *,
    steps: states.Steps = (),
    stacked: bool = False,
    signed: bool = False,
    named: states.States = (),
    **given: Any,
) -> Panel:
    """Draw lines over time; steps are dashed ones, and named series have colours of their own."""
    custom: Json = {"thresholdsStyle": {"mode": "dashed" if steps else "off"}}
    custom |= {"fillOpacity": 60, "stacking": {"mode": "normal"}} if stacked else {}
    # While all shares are 0, Grafana would draw an axis of 0 to 10000 %.
    custom |= {"axisSoftMax": 1} if unit == "percentunit" else {}
    defaults: Json = {"unit": unit, "custom": custom} | ({} if signed else {"min": 0})
    defaults |= {"thresholds": states.thresholds(steps or ((None, states.GREEN),))}
    fixed = [override(each.word, color={"mode": "fixed", "fixedColor": each.colour}) for each in named]
    return _panel(
        "timeseries", title, description, queries.items(), fields=(defaults, fixed), **given
    )


def timeline(
    title: str,
    description: str,
    queries: Mapping[str, str],
    named: states.States,
    *,
    kind: str = "state-timeline",
    **given: Any,
) -> Panel:
    """Draw a bar per object that is coloured by its state over time, or a row of cells."""
    grey = states.thresholds(((None, states.GREY),))
    defaults = {"mappings": states.mappings(named), "thresholds": grey}
    return _panel(kind, title, description, queries.items(), fields=(defaults, []), **given)


# What labels are called that are not called by their names.
_CALLED = {
    "agent_cluster": "Cluster",
    "alertname": "Alert",
    "instance": "Exporter",
    "location_name": "Location",
    "target": "Machine",
    "testjob": "Job",
}

# Labels that only links need, or that say the same in every row; the users' own are shown.
_UNSEEN = (
    "provider job namespace service kind target target_id page variable agent agent_id controller"
    " agent_cluster cluster_id member_id recorder recorder_id location_id suite_id testjob_id"
    " certificate_id"
).split()

# No limit is an infinite one; the largest number that JSON can write stands in for it.
_UNLIMITED = {
    "type": "range",
    "options": {"from": 1e308, "to": None, "result": {"text": "unlimited", "index": 0}},
}


def table(
    title: str,
    description: str,
    labels: str,
    *columns: Column,
    links: tuple[Json, ...] = (),
    sort: str = "-A",
    empty: str = states.NO_DATA,
    **given: Any,
) -> Panel:
    """List objects with their newest values.

    All queries must have the labels that tell the rows apart; what only one has is a column too.

    Args:
        title: The panel's.
        description: The panel's.
        labels: Those that are shown, in their order.
        columns: One per query.
        links: Where the first label leads.
        sort: By which label or which column's letter, downwards if a minus stands before it.
        empty: The text without any row.
        given: Size, alerts that it explains, and so on, as of `_panel`.
    """
    shown = labels.split()
    names = [f"Value #{name}" for name in string.ascii_uppercase]
    fields = dict(zip(names, columns, strict=False))
    # Grafana calls the values so when only one query has found something.
    seen = {"Value": columns[0]} | {name: one for name, one in fields.items() if not one.hidden}
    unseen = {"Time", *_UNSEEN, *fields} - {*shown, *seen}
    overrides = [
        # Links need what is hidden. Grafanas before 12 know only the first of the two.
        override(
            f"^({'|'.join(sorted(unseen))})$",
            by="byRegexp",
            custom__hidden=True,
            custom__hideFrom={"viz": True},
        ),
        *(_of_label(name, links if name == shown[0] else ()) for name in shown),
        *(_of_column(name, column) for name, column in seen.items()),
    ]
    order = {name: index for index, name in enumerate((*shown, *seen))}
    field = sort.lstrip("-")
    by = {"field": f"Value #{field}" if field.isupper() else field, "desc": field != sort}
    organised = {"excludeByName": {}, "indexByName": order, "renameByName": {}}
    return _panel(
        "table",
        title,
        description,
        [("", column.query) for column in columns],
        fields=({"noValue": empty, "thresholds": states.thresholds(((None, "text"),))}, overrides),
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": organised},
            {"id": "sortBy", "options": {"sort": [by]}},
        ],
        **given,
    )


def _of_label(name: str, links: tuple[Json, ...]) -> Json:
    called = _CALLED.get(name) or name.replace("_", " ").capitalize()
    given: Json = {"links": links, "custom__minWidth": 130} if links else {}
    if name == "severity":
        given |= {"mappings": [states.mapping(states.SEVERITY)], "custom__cellOptions": _GROUND}
    return override(name, displayName=called, noValue="-", **given)


# A cell that is coloured all over.
_GROUND = {"type": "color-background", "mode": "basic"}


def _of_column(name: str, column: Column) -> Json:
    given: Json = {"unit": column.unit, "mappings": [_UNLIMITED]}
    if column.named:
        given = {"mappings": states.mappings(column.named), "custom__cellOptions": _GROUND}
    if column.steps:
        given["thresholds"] = states.thresholds(column.steps)
        given["custom__cellOptions"] = {"type": "color-text"}
    return override(name, displayName=column.title, noValue="-", **given)


_CELL = "${{__data.fields.{}:percentencode}}".format


def details(uid: str, label: str, *, named_by: str = "") -> Json:
    """Return the link to a dashboard that shows the object of a row alone.

    The variable that chooses it is named as the label with its name, or by what another label says.
    """
    variable = _CELL(named_by) if named_by else label
    kept = "${datasource:queryparam}&${job:queryparam}&${board:queryparam}"
    chosen = f"var-source={_CELL('source')}&var-{variable}={_CELL(label)}"
    return {"title": "In detail", "url": f"/d/{uid}?{kept}&{chosen}&${{__url_time_range}}"}


def page(kind: str, label: str) -> Json:
    """Return the link to the page of a row's target on the exporter's board."""
    target = f"source={_CELL('source')}&kind={kind}&id={_CELL(label)}"
    return {"title": "On the board", "url": f"${{board}}/target?{target}", "targetBlank": True}


def _panel(
    kind: str,
    title: str,
    description: str = "",
    queries: Iterable[tuple[str, str]] = (),
    *,
    fields: tuple[Json, list[Json]] | None = None,
    answers: str = "",
    **more: Any,
) -> Panel:
    """Make a panel.

    Args:
        kind: Grafana's name of the type.
        title: One that tells it from all others.
        description: What is good and what is bad; the metrics that it asks are added.
        queries: Each after the legend of its series.
        fields: Properties of all its fields, and of some.
        answers: The alerts of the table that it explains, without their prefix.
        more: What else Grafana reads; `w` and `h` are its size where that is not the type's.
    """
    instant = kind in {"stat", "table"}
    asked = {"format": "table" if kind == "table" else "time_series"}
    asked |= {"instant": instant, "range": not instant}
    targets = [
        SHAPES["target"] | asked | {"refId": name, "expr": query, "legendFormat": legend or "__auto"}
        for name, (legend, query) in zip(string.ascii_uppercase, queries, strict=False)
    ]
    # Panels that name no version are taken for those of a very old Grafana, and converted.
    found: Json = {"type": kind, "pluginVersion": "11.0.0", "title": title}
    if description:
        found["description"] = description + _origin([target["expr"] for target in targets])
    if fields:
        found |= {"datasource": DATA_SOURCE, "targets": targets}
        more["fieldConfig"] = {"defaults": fields[0], "overrides": fields[1]}
    size = {name: more.pop(name) for name in ("w", "h") if name in more}
    found |= overlaid(SHAPES[kind], {**more, "gridPos": size})
    return Panel(json=found, answers=tuple(PREFIX + name for name in answers.split()))


def _origin(queries: list[str]) -> str:
    """Return the sentences that say where the values come from."""
    # Every selector has braces, because it chooses by labels.
    names = [f"`{name}`" for name in dict.fromkeys(re.findall(r"([\w:]+)\{", " ".join(queries)))]
    few = names if len(names) <= 3 else [*names[:2], "the like"]
    told = f" From {', '.join(few[:-1])}{' and ' if few[1:] else ''}{few[-1]}." if few else ""
    return told + (_RULES if any(":" in name for name in names) else "")
