"""A table of the Helm chart's values, from the comments in its `values.yaml`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from deploy.reference.markdown import code, table


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


VALUES = Path(__file__).parent.parent / "helm" / "loadfleet-exporter" / "values.yaml"

#: A comment that describes the value below it.
_COMMENT = re.compile(r"# -- (.*)")


def table_of_values() -> str:
    """Return a table of the values with their defaults."""
    return table(("Value", "Default", "Meaning"), rows(VALUES.read_text(encoding="utf-8")))


def rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield key, default and meaning of each value with a comment.

    Raises:
        LookupError: A value has neither a comment nor nested values with comments.
    """
    return _rows(yaml.compose(text), text.splitlines(), ())


def _rows(
    node: yaml.Node | None, lines: Sequence[str], above: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise LookupError(f"{'.'.join(above)} has no comment")
    for key, value in node.value:
        path = (*above, key.value)
        if meaning := _meaning(lines[: key.start_mark.line]):
            data = yaml.safe_load(yaml.serialize(value))
            yield code(".".join(path)), code(json.dumps(data, ensure_ascii=False)), meaning
        else:
            yield from _rows(value, lines, path)


def _meaning(lines: Sequence[str]) -> str:
    """Return the describing comment at the end of some lines; empty if there is none."""
    found: list[str] = []
    for line in reversed(lines):
        text = line.strip()
        if first := _COMMENT.fullmatch(text):
            return " ".join([first[1], *found])
        if not text.startswith("# "):
            break
        found.insert(0, text.removeprefix("# "))
    return ""
