"""Panels, made by a helper per type; `grafana.json` has what all panels of a type share."""

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

# What the panels show, by their titles, or by what several of them are about.
_, *_parts = re.split(
    r"^#+ (.+)$", files(__package__).joinpath("panels.md").read_text("utf-8"), flags=re.MULTILINE
)
TEXTS = {
    title: " ".join(text.split()).format(some=SOME, many=MANY)
    for title, text in zip(_parts[::2], _parts[1::2], strict=True)
}

# The ending of a description that depends on recorded series, whose names have colons.
_RULES = " Needs the recording rules that `loadfleet-exporter rules` prints."

# A cell that is coloured all over, and one whose text is coloured.
_GROUND, _TEXT = {"type": "color-background", "mode": "basic"}, {"type": "color-text"}


#: How a line of a chart is drawn that others are compared with.
DASHED: Json = {"custom__lineStyle": {"fill": "dash", "dash": [8, 8]}, "custom__lineWidth": 1}


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A panel as Grafana reads it, but for its place and for what its dashboard's variables choose.

    Attributes:
        answers: The alerts of the table that this panel explains.
    """

    json: Json
    answers: tuple[str, ...] = ()


def panel(  # noqa: PLR0913 - a panel has as many parts
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
    """Make a panel.

    Args:
        kind: Grafana's name of the type.
        title: One that tells it from all others.
        queries: By the legend of their series.
        unit: Grafana's name of the unit.
        steps: Colours by value; dashed lines in charts.
        named: The words for the values; in charts the series that have a colour of their own.
        stacked: The series are parts of a whole.
        signed: The values have a sign; else the axis begins at 0.
        overrides: Properties of some fields.
        empty: The text without any value.
        about: Under which title `panels.md` tells of it, if not under its own.
        answers: The alerts of the table that it explains, without their prefix.
        w: Its width in columns, where it is not the type's.
        h: Its height, likewise.
        more: What else Grafana reads.
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
    # Panels that name no version are taken for those of a very old Grafana, and converted.
    found: Json = {"type": kind, "pluginVersion": "11.0.0", "title": title}
    if targets:
        found["description"] = TEXTS[about or title] + _origin(targets)
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
    """Make a panel of a text of `panels.md`."""
    return panel("text", title, options={"content": TEXTS[title]}, **given)


def _drawn(unit: str, steps: states.Steps, *, stacked: bool) -> Json:
    found: Json = {"thresholdsStyle": {"mode": "dashed"}} if steps else {}
    found |= {"fillOpacity": 60, "stacking": {"mode": "normal"}} if stacked else {}
    # While all shares are 0, Grafana would draw an axis of 0 to 10000 %.
    return found | ({"axisSoftMax": 1} if unit == "percentunit" else {})


def _origin(targets: list[Json]) -> str:
    """Return the sentences that say where the values come from."""
    # Every selector has braces, because it chooses by labels.
    asked = re.findall(r"([\w:]+)\{", " ".join(target["expr"] for target in targets))
    names = [f"`{name}`" for name in dict.fromkeys(asked)]
    few = names if len(names) <= 3 else [*names[:2], "the like"]
    told = f" From {', '.join(few[:-1])}{' and ' if few[1:] else ''}{few[-1]}." if few else ""
    return told + (_RULES if any(":" in name for name in names) else "")


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


# Labels that only links need, or that say the same in every row; the users' own are shown.
_UNSEEN = frozenset(SHAPES["unseen labels"])


def table(
    title: str,
    labels: str,
    *columns: Column,
    links: tuple[Json, ...] = (),
    sort: str = "-A",
    **given: Any,
) -> Panel:
    """List objects with their newest values.

    All queries must have the labels that tell the rows apart; what only one has is a column too.

    Args:
        title: The panel's.
        labels: Those that are shown, in their order.
        columns: One per query.
        links: Where the first label leads.
        sort: By which label or which column's letter, downwards if a minus stands before it.
        given: Size, alerts that it explains, and so on, as of `panel`.
    """
    shown = labels.split()
    names = (f"Value #{name}" for name in string.ascii_uppercase)
    fields = dict(zip(names, columns, strict=False))
    # Grafana calls the values so when only one query has found something.
    seen = {"Value": columns[0]} | {name: one for name, one in fields.items() if not one.hidden}
    unseen = "|".join(sorted({"Time", *_UNSEEN, *fields} - {*shown, *seen}))
    # Links need what is hidden. Grafanas before 12 know only the first of the two.
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
    # Grafana gives the others equal shares of what is left; by a least width they would stick out.
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
