"""The committed dashboards, in the form that the tests read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterator


GRAFANA = Path(__file__).parent.parent.parent / "grafana"
FOLDER = GRAFANA / "dashboards"

Json = dict[str, Any]

#: The dashboards by their uids.
BOARDS: dict[str, Json] = {
    board["uid"]: board
    for board in (json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json")))
}

#: Values of the variables that Grafana itself fills in.
BUILT_IN = {"__rate_interval": "4m", "__range": "6h", "__interval": "1m"}


class Panel(NamedTuple):
    """A panel with queries, and its dashboard."""

    board: Json
    json: Json

    def __str__(self) -> str:
        return f"{self.board['uid']}: {self.json['title']}"

    @property
    def queries(self) -> list[str]:
        return [target["expr"] for target in self.json["targets"]]


class Query(NamedTuple):
    """A query, the labels that are used of it, and its place."""

    place: str
    expression: str
    mentioned: frozenset[str]

    def __str__(self) -> str:
        return self.place


def panels() -> list[Panel]:
    """Return all panels with queries."""
    return [
        Panel(board, panel)
        for board in BOARDS.values()
        for panel in board["panels"]
        if panel["type"] not in {"row", "text"}
    ]


def variables(board: Json) -> list[Json]:
    """Return the variables of a dashboard that are queries."""
    return [one for one in board["templating"]["list"] if one["type"] == "query"]


def marks(board: Json) -> list[Json]:
    """Return the annotations of a dashboard that are queries."""
    return [one for one in board["annotations"]["list"] if "expr" in one]


def queries() -> Iterator[Query]:
    """Yield every query of panels and annotations with the labels its texts mention."""
    for panel in panels():
        for target in panel.json["targets"]:
            legend = frozenset(in_braces(target["legendFormat"]))
            yield Query(f"{panel} {target['refId']}", target["expr"], legend)
    for board in BOARDS.values():
        for one in marks(board):
            texts = frozenset(in_braces(one["textFormat"] + one["titleFormat"]))
            yield Query(f"{board['uid']}: {one['name']}", one["expr"], texts)


def in_braces(text: str) -> list[str]:
    """Return the labels that a legend mentions."""
    return re.findall(r"\{\{\s*(\w+)\s*\}\}", text)


def of_cells(panel: Json) -> set[str]:
    """Return the labels that the data links of a table mention."""
    return set(re.findall(r"\$\{__data\.fields\.(\w+)", json.dumps(panel)))


def shown(panel: Json) -> set[str]:
    """Return the labels that a table shows."""
    (organize,) = [each for each in panel["transformations"] if "organize" == each["id"]]
    fields = organize["options"]["indexByName"].keys() - hidden(panel)
    return {field for field in fields if not field.startswith("Value")}


def hidden(panel: Json) -> set[str]:
    """Return the hidden fields of a table, which only links use."""
    (matcher,) = [
        each["matcher"]
        for each in panel["fieldConfig"]["overrides"]
        if {"id": "custom.hidden", "value": True} in each["properties"]
    ]
    assert "byRegexp" == matcher["id"]
    return set(matcher["options"].removeprefix("^(").removesuffix(")$").split("|"))


def filled(expression: str, *, built_in: dict[str, str] | None = None) -> str:
    """Return a query as Grafana sends it while every variable is at All."""
    for name, value in (built_in or BUILT_IN).items():
        expression = expression.replace(f"${name}", value)
    return re.sub(r"\$[a-z]\w*", ".+", expression)
