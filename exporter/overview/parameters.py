"""The parameters of an address, read with everything that is wrong with them.

A mistyped word must not show more than somebody asked for, nor an empty list that looks like good
news: each mistake names the parameter, what it can be, and what comes nearest.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from exporter.config.words import hint, one_of


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from starlette.datastructures import QueryParams


#: What the name of a parameter about a label begins with.
LABEL = "label."

# Of a name that nobody knows so much is repeated.
_TOLD = 40

#: So many mistakes of an address are told; the nearest word is looked for with each of them.
MOST_MISTAKES = 20

#: A text that is looked for is no longer; a page repeats it in each of its links.
MOST_CHARACTERS = 1_000


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
        """The mistakes found so far, each once, and the first of many."""
        return tuple(dict.fromkeys(self._mistakes))

    def text(self, name: str) -> str:
        """Return all that was written, with a blank between its parts."""
        text = " ".join(self._query.getlist(name)).strip()
        if len(text) <= MOST_CHARACTERS:
            return text
        self._note(lambda: f"{name} must have {MOST_CHARACTERS:,} characters at most")
        return ""

    def among(self, name: str, values: Collection[str]) -> list[str]:
        """Return each wanted value once, as far as it is known."""
        found = []
        for text in dict.fromkeys(filter(None, self._query.getlist(name))):
            if text in values:
                found.append(text)
            else:
                self._note(partial(_no_value, name, text, values))
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
        self._note(lambda: f"{name} must be a whole number from {least} on")
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
                self._note(partial(_no_label, name, known))
        return tuple(found)

    def only(self, names: Sequence[str], *, labels: bool = True) -> None:
        """Find fault with parameters of other names; those of labels have their own check.

        Args:
            names: Those that there are.
            labels: Whether there are those of labels besides.
        """
        there = (*names, f"{LABEL}NAME") if labels else names
        for name in dict.fromkeys(self._query.keys()):
            if name not in names and not (labels and name.startswith(LABEL)):
                self._note(partial(_no_parameter, name, names, there))

    def _note(self, say: Callable[[], str]) -> None:
        if len(self._mistakes) < MOST_MISTAKES:
            self._mistakes.append(say())


def _no_value(name: str, text: str, values: Collection[str]) -> str:
    return f"{_told(name)} {one_of(text, values)}"


def _no_label(name: str, known: Collection[str]) -> str:
    told = ", ".join(LABEL + each for each in known)
    there = f"there are: {told}" if told else "there are none"
    near = hint(name, known, prefix=LABEL)
    return f"{_told(LABEL + name)} is no label of a source; {there}{near}"


def _no_parameter(name: str, names: Sequence[str], there: Sequence[str]) -> str:
    told = ", ".join(there)
    return f"{_told(name)} is no parameter here; there are: {told}{hint(name, names)}"


def _told(name: str) -> str:
    return name if len(name) <= _TOLD else name[: _TOLD - 1] + "…"
