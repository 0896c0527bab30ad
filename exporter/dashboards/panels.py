"""Panels, with a function per type; `grafana.json` holds the JSON that panels of a type share."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.alerts.rule import PREFIX
from exporter.dashboards import states
from exporter.dashboards.query import MANY, SOME
from exporter.dashboards.states import SHAPES


if TYPE_CHECKING:
    from collections.abc import Sequence


Json = dict[str, Any]

# The panels' descriptions by title, or by a common title for several similar panels.
_, *_parts = re.split(
    r"^#+ (.+)$", files(__package__).joinpath("panels.md").read_text("utf-8"), flags=re.MULTILINE
)
TEXTS = {
    title: " ".join(text.split()).format(some=SOME, many=MANY)
    for title, text in zip(_parts[::2], _parts[1::2], strict=True)
}

# The end of a description if the panel needs recorded metrics, whose names contain colons.
_RULES = " Needs the recording rules that `loadfleet-exporter rules` prints."

# Cell options: a coloured background, and a coloured text.
_GROUND, _TEXT = {"type": "color-background", "mode": "basic"}, {"type": "color-text"}


#: The style of a line in a chart that serves as a reference for others.
DASHED: Json = {"custom__lineStyle": {"fill": "dash", "dash": [8, 8]}, "custom__lineWidth": 1}


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A panel in Grafana's JSON model, without its position and the matchers for variables.

    Attributes:
        answers: The alerts that this panel helps to examine.
    """

    json: Json
    answers: tuple[str, ...] = ()


def panel(  # noqa: PLR0913 - a panel has this many parts
    kind: str,
    title: str,
    queries: str | Mapping[str, str] | Sequence[str] = (),
    unit: str = "none",
    *,
    steps: states.Steps = (),
    named: states.States = (),
    stacked: bool = False,
    signed: bool = False,
    overrides: Sequence[Json] = (),
    empty: str = states.NO_DATA,
    about: str = "",
    answers: str = "",
    w: int = 0,
    h: int = 0,
    **more: Any,
) -> Panel:
    """Return a panel.

    Args:
        kind: Grafana's name of the type.
        title: The title, unique within the dashboard.
        queries: The queries, by the legend of their series.
        unit: Grafana's name of the unit.
        steps: Colours by value, which charts show as dashed lines.
        named: Words for the values; in charts, the series with a fixed colour.
        stacked: Whether the series are stacked, as parts of a whole.
        signed: Whether values can be negative; otherwise the axis begins at 0.
        overrides: Properties of some fields.
        empty: The text shown if there is no value.
        about: The title of the description in `panels.md`, if it is not the panel's own.
        answers: The alerts that the panel helps to examine, without their prefix.
        w: The width in columns; 0 takes the default of the type.
        h: The height in rows; 0 takes the default of the type.
        more: Further properties of Grafana's JSON model.
    """
    if isinstance(queries, Mapping):
        legends = list(queries.items())
    else:
        listed = [queries] if isinstance(queries, str) else queries
        legends = [("__auto", query) for query in listed]
    chart, instant = kind == "timeseries", kind in {"stat", "table"}
    how: Json = {"format": "table" if kind == "table" else "time_series"}
    how |= {"instant": instant, "range": not instant}
    targets = [
        SHAPES["target"] | how | {"refId": name, "expr": query, "legendFormat": legend}
        for name, (legend, query) in zip(string.ascii_uppercase, legends, strict=False)
    ]
    # Grafana treats panels without a version as very old and converts them.
    found: Json = {"type": kind, "pluginVersion": "11.0.0", "title": title}
    if targets:
        found["description"] = _text(about or title) + _origin(targets)
        found |= {"datasource": SHAPES["target"]["datasource"], "targets": targets}
        defaults: Json = {"unit": unit, "noValue": empty}
        if steps:
            defaults["thresholds"] = states.thresholds(steps)
        if chart:
            defaults |= {"custom": _drawn(unit, steps, stacked=stacked)}
            defaults |= {} if signed else {"min": 0}
            overrides = [
                *overrides,
                *(
                    override(each.word, color={"mode": "fixed", "fixedColor": each.colour})
                    for each in named
                ),
            ]
        elif named:
            defaults["mappings"] = states.mappings(named)
        more["fieldConfig"] = {"defaults": defaults, "overrides": overrides}
    size = {"gridPos": {name: value for name, value in (("w", w), ("h", h)) if value}}
    return Panel(
        json=found | overlaid(overlaid(SHAPES[kind], size), more),
        answers=tuple(PREFIX + name for name in answers.split()),
    )


heading = partial(panel, "row")
stat = partial(panel, "stat")
series = partial(panel, "timeseries")
timeline = partial(panel, "state-timeline")
history = partial(panel, "status-history")


def text(title: str, **given: Any) -> Panel:
    """Return a panel that shows a text of `panels.md`."""
    return panel("text", title, options={"content": _text(title)}, **given)


def _drawn(unit: str, steps: states.Steps, *, stacked: bool) -> Json:
    found: Json = {"thresholdsStyle": {"mode": "dashed"}} if steps else {}
    found |= {"fillOpacity": 60, "stacking": {"mode": "normal"}} if stacked else {}
    # Without this, Grafana draws an axis from 0 to 10000 % if all shares are 0.
    return found | ({"axisSoftMax": 1} if unit == "percentunit" else {})


def _text(title: str) -> str:
    """Return the text of a panel.

    Raises:
        LookupError: `panels.md` has no section of that title.
    """
    if title not in TEXTS:
        raise LookupError(f"exporter/dashboards/panels.md has no section '### {title}'; write it")
    return TEXTS[title]


def _origin(targets: list[Json]) -> str:
    """Return the sentences that name the panel's metrics and prerequisites."""
    # Every selector has braces, even without matchers.
    asked = re.findall(r"([\w:]+)\{", " ".join(target["expr"] for target in targets))
    names = [f"`{name}`" for name in dict.fromkeys(asked)]
    few = names if len(names) <= 3 else [*names[:2], "others"]
    origin = f" From {', '.join(few[:-1])}{' and ' if few[1:] else ''}{few[-1]}." if few else ""
    return origin + (_RULES if any(":" in name for name in names) else "")


def overlaid(shape: Mapping[str, Any], more: Mapping[str, Any]) -> Json:
    """Return a mapping merged recursively with another one, whose values take precedence."""
    found = dict(shape)
    for name, value in more.items():
        deeper = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = overlaid(found[name], value) if deeper else value
    return found


def override(name: str, *, by: str = "byName", **properties: Any) -> Json:
    """Return an override of a field's properties; `__` in a property's name stands for a dot."""
    found = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": by, "options": name}, "properties": found}


class Column(msgspec.Struct, frozen=True):
    """A column of a table, with the query for its values.

    Attributes:
        unit: Grafana's name of the unit.
        named: Words for the values, if they are codes.
        steps: Colours of the text by value.
        hidden: Whether the values are hidden, because only the query's labels are needed.
    """

    title: str
    query: str
    unit: str = "none"
    named: states.States = ()
    steps: states.Steps = ()
    hidden: bool = False


# Hidden labels: only links need them, or their value is the same in every row. Users' own labels
# are shown.
_UNSEEN = frozenset(SHAPES["unseen labels"])


def table(
    title: str,
    labels: str,
    *columns: Column,
    links: tuple[Json, ...] = (),
    sort: str = "-A",
    **given: Any,
) -> Panel:
    """Return a table of objects with their newest values.

    All queries must have the labels that identify the rows. A label of only one query becomes a
    column, too.

    Args:
        title: The title of the panel.
        labels: The labels to show, in their order.
        columns: The columns, each with a query.
        links: The links of the first label.
        sort: The label, or the letter of the column, to sort by; descending if it begins with `-`.
        given: Further arguments of `panel`.
    """
    shown = labels.split()
    names = (f"Value #{name}" for name in string.ascii_uppercase)
    fields = dict(zip(names, columns, strict=False))
    # Grafana names the column "Value" if only one query returns series.
    seen = {"Value": columns[0]} | {name: one for name, one in fields.items() if not one.hidden}
    unseen = "|".join(sorted({"Time", *_UNSEEN, *fields} - {*shown, *seen}))
    # Hidden and not removed, since links need these fields. Grafana before 12 knows only the first
    # of the two properties.
    hidden: Json = {"custom__hidden": True, "custom__hideFrom__viz": True}
    overrides = [
        override(f"^({unseen})$", by="byRegexp", **hidden),
        *(_of_label(name, links if name == shown[0] else ()) for name in shown),
        *(_of_column(name, column) for name, column in seen.items()),
    ]
    order = {name: index for index, name in enumerate((*shown, *seen))}
    field = sort.lstrip("-")
    by = {"field": f"Value #{field}" if field.isupper() else field, "desc": field != sort}
    return panel(
        "table",
        title,
        [column.query for column in columns],
        overrides=overrides,
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"indexByName": order}},
            {"id": "sortBy", "options": {"sort": [by]}},
        ],
        **given,
    )


def _of_label(name: str, links: tuple[Json, ...]) -> Json:
    called = SHAPES["called"].get(name) or name.replace("_", " ").capitalize()
    # Grafana divides the rest of the width equally. With minimum widths, columns would not fit.
    given: Json = {"links": links, "custom__width": 150} if links else {}
    if name == "alertname":
        given |= {"custom__width": 230}
    if name == "severity":
        given |= {"mappings": [states.mapping(states.SEVERITY)], "custom__cellOptions": _GROUND}
    return override(name, displayName=called, noValue="-", **given)


def _of_column(name: str, column: Column) -> Json:
    given: Json = {"unit": column.unit, "mappings": [SHAPES["unlimited"]]}
    if column.named:
        given = {"mappings": states.mappings(column.named), "custom__cellOptions": _GROUND}
    if column.steps:
        given["thresholds"] = states.thresholds(column.steps)
        given["custom__cellOptions"] = _TEXT
    return override(name, displayName=column.title, noValue="-", **given)


_CELL = "${{__data.fields.{}:percentencode}}".format


def details(uid: str, label: str, *, named_by: str = "") -> Json:
    """Return the link to a dashboard restricted to the object of a row.

    Args:
        uid: The dashboard.
        label: The label with the object's name, which is also the name of the variable.
        named_by: The label that holds the name of the variable instead.
    """
    variable = _CELL(named_by) if named_by else label
    kept = "${datasource:queryparam}&${job:queryparam}&${board:queryparam}"
    chosen = f"var-source={_CELL('source')}&var-{variable}={_CELL(label)}"
    return {"title": "In detail", "url": f"/d/{uid}?{kept}&{chosen}&${{__url_time_range}}"}


def page(kind: str, label: str) -> Json:
    """Return the link to the page of a row's target on the exporter's board."""
    target = f"source={_CELL('source')}&kind={kind}&id={_CELL(label)}"
    return {"title": "On the board", "url": f"${{board}}/target?{target}", "targetBlank": True}
