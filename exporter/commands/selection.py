"""The part of the fleet that `status` is asked about.

Sources and labels choose what is judged: of other sources neither the headline nor the exit code
tells. Kinds and states only choose which rows are shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from starlette.datastructures import QueryParams

from exporter.commands.parser import several
from exporter.fleet.kinds import LISTED
from exporter.overview.filters import Filters, Known, State
from exporter.overview.parameters import LABEL
from exporter.overview.problems import WRONG, Problem
from exporter.overview.rows import Condition, TargetRow


if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Container, Iterable, Iterator

    from exporter.overview.rows import RunRow
    from exporter.overview.sources import SourceRow
    from exporter.sources.settings import SourceSettings


# The parameters of the board's address as they are called here.
_FLAGS = {"source": "--source", "group": "--group-by"}


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the fleet.

    Attributes:
        filters: As on the board.
        down: Whether only what is wrong is to be shown.
        sources: The names of those that are judged, `None` for all.
    """

    filters: Filters = Filters()
    down: bool = False
    sources: frozenset[str] | None = None

    @property
    def told(self) -> str:
        """The flags that were given."""
        found = self.filters
        parts = [
            *(f"--source={name}" for name in sorted(found.sources)),
            *(f"--label {name}={value}" for name, value in found.labels),
            *(f"--kind={kind}" for kind in LISTED if kind in found.kinds),
            *(f"--state={state}" for state in State if state in found.states),
            *(["--down"] if self.down else []),
        ]
        return " ".join(parts)

    @property
    def picks_rows(self) -> bool:
        """True if the selection leaves out rows of the sources that are judged."""
        return bool(self.filters.kinds or self.filters.states or self.down)

    def judges(self, source: str) -> bool:
        """Return whether a source is judged; the exporter itself, without a name, always is."""
        return self.sources is None or not source or source in self.sources

    def judges_problem(self, problem: Problem) -> bool:
        """Return whether a problem is judged; a preflight is about the whole fleet."""
        return self.sources is None if problem.preflight else self.judges(problem.source)

    def shows(self) -> Callable[[TargetRow], bool]:
        """Return what tells whether a target's row is shown."""
        matches = self.filters.matcher()
        return lambda row: (
            (not self.down or row.severity in WRONG or row.state is Condition.DOWN) and matches(row)
        )

    def problems(
        self, problems: Iterable[Problem], shown: Iterable[TargetRow]
    ) -> Iterator[Problem]:
        """Yield the problems of what is shown, and those that are of no target."""
        targets = {row.target for row in shown}
        kinds = self.filters.kinds
        for problem in problems:
            # Runs, and targets that are no longer listed, have no row.
            fits = not self.filters.states and (not kinds or problem.kind in kinds)
            if self.judges_problem(problem) and (
                not problem.kind or fits or problem.target in targets
            ):
                yield problem

    def runs(self, runs: Iterable[RunRow]) -> list[RunRow]:
        """Return the runs of the sources that are judged."""
        return [run for run in runs if self.judges(run.source)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the filters; each can be repeated."""
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME",
        help="judge and show this source alone, repeatable; no other is polled",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="judge and show the sources with this label alone, repeatable",
    )
    parser.add_argument(
        "--kind",
        action="append",
        type=several,
        default=[],
        choices=[kind.value for kind in LISTED],
        help="show targets of this kind alone, repeatable or separated by commas",
    )
    parser.add_argument(
        "--state",
        action="append",
        type=several,
        default=[],
        choices=[state.value for state in State],
        help="show targets in this state alone, repeatable or separated by commas",
    )
    parser.add_argument(
        "--down", action="store_true", help="show only what is wrong: down, or with a problem"
    )
    parser.add_argument(
        "--group-by",
        metavar="GROUP",
        help="count targets by source, provider or a label of yours instead of listing them",
    )


def selected(
    arguments: argparse.Namespace, sources: Iterable[SourceRow | SourceSettings]
) -> tuple[Selection, tuple[str, ...]]:
    """Return what the flags select, and what is wrong with them."""
    rows = tuple(sources)
    known = Known.of(rows)
    mistakes = [f"{flag} has no value" for flag in _without_value(arguments)]
    query = [("source", name) for name in source_names(arguments.source, known.sources)]
    for text in arguments.label:
        name, assigned, value = text.partition("=")
        if assigned and not value:
            mistakes.append(f"--label={text} has no value")
        elif assigned:
            query.append((LABEL + name, value))
        else:
            mistakes.append(f"--label must be NAME=VALUE, such as site=zurich; not {text!r}")
    query += [("kind", value) for values in arguments.kind for value in values]
    query += [("state", value) for values in arguments.state for value in values]
    query.append(("group", arguments.group_by or ""))
    filters, wrong = Filters.read(QueryParams(query), known)
    mistakes += map(_in_flags, wrong)
    narrowed = None
    if filters.sources or filters.labels:
        narrowed = frozenset(row.name for row in rows if filters.covers(row.name, row.labels))
        if not mistakes and not narrowed:
            mistakes.append("no source has all that --source and --label ask for")
    return Selection(filters=filters, down=arguments.down, sources=narrowed), tuple(mistakes)


def source_names(texts: Iterable[str], known: Container[str]) -> list[str]:
    """Return the names of sources out of values that can hold several, separated by commas."""
    return [
        name
        # The name of a source may hold a comma itself.
        for text in texts
        for name in ((text,) if text in known else several(text))
    ]


def _without_value(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the flags that were given and choose nothing, as where a variable is empty."""
    given = {"--source": arguments.source, "--kind": arguments.kind, "--state": arguments.state}
    yield from (f"{flag}=" for flag, texts in given.items() if not all(texts))
    if arguments.group_by == "":
        yield "--group-by="


def _in_flags(mistake: str) -> str:
    """Return a mistake in an address as one in flags."""
    name, space, rest = mistake.partition(" ")
    text = _FLAGS.get(name, name) + space + rest
    return re.sub(rf"(^|[ ,]){re.escape(LABEL)}", r"\1--label ", text)
