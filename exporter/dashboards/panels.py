"""What all panels have in common, and the two that ask nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec


#: The one data source of all queries: a variable, so that a dashboard fits every Grafana.
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

#: The oldest Grafana that shows all of it. Panels that name no version are taken for such of a
#: very old one, and converted.
OLDEST = "11.0.0"

#: The width of a dashboard in columns.
COLUMNS = 24

#: From which value on which colour; the first step has no value.
Steps = Sequence[tuple[float | None, str]]


class Target(msgspec.Struct, frozen=True):
    """A query and what its series are called."""

    expression: str
    legend: str = ""


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A panel without its place.

    Attributes:
        type: One of Grafana's core types.
        description: What is good, what is bad, and which metric it comes from.
        answers: The alerts of the table that this panel explains.
    """

    type: ClassVar[str]
    title: str
    description: str = ""
    width: int = COLUMNS
    height: int = 8
    answers: tuple[str, ...] = ()

    def own(self) -> dict[str, Any]:
        """Return what this type of panel has beside the common fields."""
        raise NotImplementedError

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
            panel["description"] = self.description
        if self.answers:
            panel["links"] = [
                {"title": f"Runbook: {name}", "url": f"{runbook_url}{name}.md", "targetBlank": True}
                for name in self.answers
            ]
        return panel | self.own()


class Row(Panel, frozen=True, kw_only=True):
    """A heading over the panels that follow."""

    type = "row"
    height: int = 1

    def own(self) -> dict[str, Any]:
        """Return that it is open; its panels stand beside it."""
        return {"collapsed": False, "panels": []}


class Text(Panel, frozen=True, kw_only=True):
    """A panel of Markdown."""

    type = "text"
    content: str

    def own(self) -> dict[str, Any]:
        """Return the text."""
        return {"options": {"mode": "markdown", "content": self.content}}


def targets(wanted: Sequence[Target], *, instant: bool, table: bool = False) -> dict[str, Any]:
    """Return the fields of a panel that ask for something.

    Args:
        wanted: What is asked.
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
                "expr": target.expression,
                "legendFormat": target.legend or "__auto",
                "format": "table" if table else "time_series",
                "instant": instant,
                "range": not instant,
            }
            for index, target in enumerate(wanted)
        ],
    }


def ref_id(index: int) -> str:
    """Return the name of a panel's query by its place."""
    return chr(ord("A") + index)


def thresholds(steps: Steps) -> dict[str, Any]:
    """Return thresholds."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": colour} for value, colour in steps],
    }


def override(name: str, **properties: Any) -> dict[str, Any]:
    """Return what is different for a field; `__` in a property's name stands for a dot."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("__", "."), "value": value} for key, value in properties.items()
        ],
    }


def coloured(known: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return overrides that give series the colours of their names."""
    return [
        override(word, color={"mode": "fixed", "fixedColor": colour})
        for word, colour in known.items()
    ]


def beyond(limit: float | None, colour: str, inside: str = "text") -> Steps:
    """Return the steps that colour what is farther from 0 than a limit, on either side."""
    return () if limit is None else ((None, colour), (-limit, inside), (limit, colour))


def above(limit: float | None, colour: str, below: str = "text") -> Steps:
    """Return the steps that colour what is greater than a limit."""
    return () if limit is None else ((None, below), (limit, colour))
