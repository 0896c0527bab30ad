"""Reads the parameters of a URL and reports all mistakes in them.

A mistyped parameter must neither show more than was asked for, nor an empty list that looks like
good news. So each mistake names the parameter, its possible values, and the nearest one.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from exporter.config.words import hint, one_of


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from starlette.datastructures import QueryParams


#: The prefix of parameters about labels.
LABEL = "label."

# The most characters of an unknown name that a mistake repeats.
_SHOWN_CHARACTERS = 40

#: The most mistakes reported for a URL, as the search for the nearest word takes time.
MOST_MISTAKES = 20

#: The most characters of a search text, which a page repeats in each of its links.
MOST_CHARACTERS = 1_000


class Parameters:
    """Reads the parameters of one URL; a parameter without a value counts as missing.

    Args:
        query: The query of the URL.
    """

    def __init__(self, query: QueryParams) -> None:
        self._query = query
        self._mistakes: list[str] = []

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The mistakes found so far, each once, at most `MOST_MISTAKES`."""
        return tuple(dict.fromkeys(self._mistakes))

    def text(self, name: str) -> str:
        """Return the values of a parameter, joined by blanks."""
        text = " ".join(self._query.getlist(name)).strip()
        if len(text) <= MOST_CHARACTERS:
            return text
        self._note(lambda: f"{name} must have {MOST_CHARACTERS:,} characters at most")
        return ""

    def among(self, name: str, values: Collection[str]) -> list[str]:
        """Return the values of a parameter that are among the possible ones, each once."""
        found = []
        for text in dict.fromkeys(filter(None, self._query.getlist(name))):
            if text in values:
                found.append(text)
            else:
                self._note(partial(_no_value, name, text, values))
        return found

    def order(self, values: Iterable[str]) -> tuple[str, bool]:
        """Return the order to sort by, and whether it is descending; the last `sort` counts."""
        found = self.among("sort", [sign + each for each in values for sign in ("", "-")])
        chosen = found[-1] if found else ""
        return chosen.removeprefix("-"), chosen.startswith("-")

    def number(self, name: str, least: int) -> int | None:
        """Return a parameter as a whole number, `None` without one; the last value counts."""
        text = self._query.get(name, "")
        if not text:
            return None
        # 9 digits suffice for any number of targets.
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
        """Note a mistake for each parameter with another name.

        Args:
            names: The known parameters.
            labels: Whether parameters about labels are known, too; `labels` checks their names.
        """
        there = (*names, f"{LABEL}NAME") if labels else names
        for name in dict.fromkeys(self._query.keys()):
            if name not in names and not (labels and name.startswith(LABEL)):
                self._note(partial(_no_parameter, name, names, there))

    def _note(self, say: Callable[[], str]) -> None:
        if len(self._mistakes) < MOST_MISTAKES:
            self._mistakes.append(say())


def _no_value(name: str, text: str, values: Collection[str]) -> str:
    return f"{_shortened(name)} {one_of(text, values)}"


def _no_label(name: str, known: Collection[str]) -> str:
    listed = ", ".join(LABEL + each for each in known)
    there = f"there are: {listed}" if listed else "there are none"
    near = hint(name, known, prefix=LABEL)
    return f"{_shortened(LABEL + name)} is no label of a source; {there}{near}"


def _no_parameter(name: str, names: Sequence[str], there: Sequence[str]) -> str:
    listed = ", ".join(there)
    return f"{_shortened(name)} is no parameter here; there are: {listed}{hint(name, names)}"


def _shortened(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARACTERS else name[: _SHOWN_CHARACTERS - 1] + "…"
