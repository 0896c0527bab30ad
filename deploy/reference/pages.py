"""Markdown pages with generated parts.

A part begins with `<!-- begin: NAME ARGUMENTS -->` and ends with `<!-- end -->`. The rest of a page
is written by hand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploy.reference import commands, licences, metrics, modules, rules, settings, values


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


PARTS: Mapping[str, Callable[..., str]] = {
    "settings": settings.table_of_settings,
    "tasks": settings.table_of_tasks,
    "ciphers": settings.list_of_ciphers,
    "families": metrics.table_of_families,
    "own-metrics": metrics.table_of_own,
    "commands": commands.table_of_commands,
    "flags": commands.table_of_flags,
    "command-flags": commands.table_of_command_flags,
    "alerts": rules.table_of_alerts,
    "modules": modules.table_of_modules,
    "conformance": modules.list_of_promises,
    "licences": licences.table_of_licences,
    "values": values.table_of_values,
}

_PART = re.compile(r"(<!-- begin: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """Return a page with its generated parts up to date.

    Raises:
        LookupError: A part's name or arguments are unknown.
    """

    def part(match: re.Match[str]) -> str:
        name, *arguments = match[2].split()
        if name not in PARTS:
            raise LookupError(f"unknown part {name}; known parts: {', '.join(PARTS)}")
        return f"{match[1]}\n{PARTS[name](*arguments)}\n{match[3]}"

    return _PART.sub(part, page)
