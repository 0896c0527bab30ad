"""The parameters of an address, read with everything that is wrong with them.

A mistyped word must not show more than somebody asked for, nor an empty list that looks like good
news: each mistake names the parameter, what it can be, and what comes nearest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exporter.config.validation import hint, one_of


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from starlette.datastructures import QueryParams


#: What the name of a parameter about a label begins with.
LABEL = "label."

# Of a name that nobody knows so much is repeated.
_TOLD = 40


class Parameters:
    """Reads the parameters of one address; one without a value is as if it were not there.

    Args:
        query: What stands behind the question mark.
    """

    def __init__(self, query: QueryParams) -> None:
        self._query = query
        self._mistakes: list[str] = []

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Everything that was wrong so far, each thing once."""
        return tuple(dict.fromkeys(self._mistakes))

    def text(self, name: str) -> str:
        """Return all that was written, with a blank between its parts."""
        return " ".join(self._query.getlist(name)).strip()

    def among(self, name: str, values: Collection[str]) -> list[str]:
        """Return each wanted value once, as far as it is known."""
        found = []
        for text in dict.fromkeys(filter(None, self._query.getlist(name))):
            if text in values:
                found.append(text)
            else:
                self._mistakes.append(f"{_told(name)} {one_of(text, values)}")
        return found

    def order(self, values: Iterable[str]) -> tuple[str, bool]:
        """Return what is sorted by, and whether descending; the last one counts."""
        found = self.among("sort", [sign + each for each in values for sign in ("", "-")])
        chosen = found[-1] if found else ""
        return chosen.removeprefix("-"), chosen.startswith("-")

    def number(self, name: str, least: int) -> int | None:
        """Return a whole number; the last one counts."""
        text = self._query.get(name, "")
        if not text:
            return None
        # More digits than any fleet has targets.
        if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and int(text) >= least:
            return int(text)
        self._mistakes.append(f"{name} must be a whole number from {least} on")
        return None

    def labels(self, known: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
        """Return the wanted labels with their values, each pair once."""
        found = []
        for parameter in dict.fromkeys(self._query.keys()):
            if not parameter.startswith(LABEL):
                continue
            name = parameter.removeprefix(LABEL)
            if name in known:
                found += [(name, text) for text in self.among(parameter, known[name])]
            else:
                told = ", ".join(LABEL + each for each in known)
                there = f"there are: {told}" if told else "there are none"
                near = hint(name, known, prefix=LABEL)
                what = f"{_told(parameter)} is no label of a source"
                self._mistakes.append(f"{what}; {there}{near}")
        return tuple(found)

    def only(self, names: Sequence[str]) -> None:
        """Find fault with parameters of other names; those of labels have their own check."""
        for name in dict.fromkeys(self._query.keys()):
            if name not in names and not name.startswith(LABEL):
                told = ", ".join((*names, f"{LABEL}NAME"))
                what = f"{_told(name)} is no parameter here"
                self._mistakes.append(f"{what}; there are: {told}{hint(name, names)}")


def _told(name: str) -> str:
    return name if len(name) <= _TOLD else name[: _TOLD - 1] + "…"
