"""Where a mistake is to be corrected: its place as the one knows it who made it.

Settings come from flags, variables and files. Who set a variable does not look for
`sources[0].auth_token`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from exporter.config import environment
from exporter.config.validation import dotted, known_keys
from exporter.settings import flags
from exporter.settings.assemble import SOURCES
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.config.environment import Environment
    from exporter.config.validation import KeyPath, Mistake


#: A setting's name in a text, and no part of a path. One of a single word, such as `interval`, is a
#: word of the language as well.
_NAME = re.compile(r"(?<![\w/.-])[a-z]+(?:_[a-z]+)+(?![\w/.-])")


def place(
    path: KeyPath, variables: Environment, overrides: Mapping[str, Any], count: int = 0
) -> str:
    """Write a place as the one who has to correct it knows it.

    Args:
        path: The place.
        variables: What the environment gave.
        overrides: What flags gave.
        count: How many sources the file lists; those after them are the environment's.
    """
    provider = _provider(path, variables, count)
    if provider:
        return environment.source_variable(provider, path[2:])
    starts = [path[:end] for end in range(len(path), 0, -1)]
    for start in starts:
        if _has(overrides, start):
            return flags.spelled(start) or dotted(path)
    for start in starts:
        if start in variables.variables:
            return variables.variables[start]
    return dotted(path)


def told(mistake: Mistake, variables: Environment, count: int) -> str:
    """Return the text, with other settings of the environment's sources by their variables."""
    provider = _provider(mistake.path, variables, count)
    if not provider:
        return mistake.text
    known = known_keys(PROVIDERS[provider].settings, mistake.path[2:-1])

    def variable(match: re.Match[str]) -> str:
        sibling = (*mistake.path[2:-1], match[0])
        return environment.source_variable(provider, sibling) if match[0] in known else match[0]

    return _NAME.sub(variable, mistake.text)


def _provider(path: KeyPath, variables: Environment, count: int) -> str:
    """Return the provider of the source a place is in, if the environment gave the source."""
    first, index = (*path, "")[:2]
    if first != SOURCES or not isinstance(index, int) or index < count:
        return ""
    found: str = variables.sources[index - count]["provider"]
    return found


def _has(data: Any, path: KeyPath) -> bool:
    for part in path:
        if not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return not isinstance(data, dict)
