"""The command line's parser, which suggests the nearest known word for a mistyped one."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn

from exporter.config.words import closest


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


class Parser(argparse.ArgumentParser):
    """A parser of the program or of one of its commands.

    Error texts about flags do not repeat their values, since these may be secrets.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    @property
    def arguments(self) -> tuple[argparse.Action, ...]:
        """All flags and arguments except hidden ones."""
        return tuple(
            action
            for action in self._actions  # argparse has no public list
            if action.help != argparse.SUPPRESS
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """The spellings of all flags."""
        return tuple(option for action in self.arguments for option in action.option_strings)

    @property
    def commands(self) -> dict[str, Parser]:
        """The parsers of the commands by name; empty for the parser of a command."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - has no public name
                return dict(action.choices)
        return {}

    def parse_known_args(  # type: ignore[override]  # the overloads of argparse's stubs
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Return the parsed arguments and the rest; exit with a suggestion on an unknown flag.

        Argparse alone would take the unknown flag's value for an argument and report that first.
        """
        given = list(args or ())
        if not self.commands:
            self._check_flags(given)
        found, rest = super().parse_known_args(given, namespace)
        for action in self._actions:
            if rest and action.nargs == "*" and not action.option_strings:
                # Argparse collects only the first group of adjacent arguments.
                getattr(found, action.dest).extend(text for text in rest if text != "--")
                rest = []
        if rest and not self.commands:
            self._refuse(rest)  # too many arguments
        return found, rest

    def _check_flags(self, given: Sequence[str]) -> None:
        known = {option: each for each in self._actions for option in each.option_strings}
        unknown_flags = []
        before: argparse.Action | None = None
        for text in given[: given.index("--") if "--" in given else None]:
            name, has_value, _ = text.partition("=")
            # A text in the position of a value may be a secret; leave it to argparse, which does
            # not repeat it.
            expected = before is not None and before.nargs is None
            before = None if has_value else known.get(name)
            is_flag = len(name) > 1 and name.startswith("-") and " " not in name
            if is_flag and name not in known and not expected and not _NUMBER.fullmatch(text):
                unknown_flags.append(name)
        if unknown_flags:
            self._refuse(unknown_flags)

    def _refuse(self, names: Sequence[str]) -> NoReturn:
        near = closest(names[0].lstrip("-"), [*self.flags, "--version"], prefix="--")
        remedy = f"did you mean {near}?" if near and names[0].startswith("-") else "remove it"
        if len(names) > 1 and remedy == "remove it":
            remedy = "remove them"
        self.error(f"unrecognized arguments: {' '.join(names)}; {remedy}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value, or a tuple of values, that is not among the choices."""
        if action.choices is None:
            return
        known = [str(choice) for choice in action.choices]
        for each in value if isinstance(value, tuple) else (value,):
            if each not in action.choices:
                raise argparse.ArgumentError(action, unknown(each, known))


def unknown(word: object, known: Iterable[str]) -> str:
    """Return the error text for a word that is not among the known words."""
    words = list(known)
    near = closest(word, words)
    rest = f"did you mean {near}? It must" if near else "it must"
    return f"invalid choice: {str(word)!r}; {rest} be one of: {', '.join(words)}"


def several(text: str) -> tuple[str, ...]:
    """Return values that are separated by commas, as a type for argparse."""
    return tuple(part for each in text.split(",") if (part := each.strip()))
