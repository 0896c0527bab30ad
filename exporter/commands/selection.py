"""The part of the fleet that the flags of `status` select.

Sources and labels select what is judged: other sources affect neither the headline nor the exit
code. Kinds and states only select which rows are shown.
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


# Flags by the name of the same parameter in the board's URL.
_FLAGS = {"source": "--source", "group": "--group-by"}


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the fleet.

    Attributes:
        filters: The filters, as on the board.
        down: Whether to show only targets that are down or have a problem.
        sources: The names of the judged sources, `None` for all.
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
        """True if the selection hides rows of judged sources."""
        return bool(self.filters.kinds or self.filters.states or self.down)

    def judges(self, source: str) -> bool:
        """Return whether a source is judged. The exporter itself, with an empty name, always is."""
        return self.sources is None or not source or source in self.sources

    def judges_problem(self, problem: Problem) -> bool:
        """Return whether a problem is judged. Preflights are only judged with the whole fleet."""
        return self.sources is None if problem.preflight else self.judges(problem.source)

    def shows(self) -> Callable[[TargetRow], bool]:
        """Return a predicate that is true for the rows to show."""
        matches = self.filters.matcher()
        return lambda row: (
            (not self.down or row.severity in WRONG or row.state is Condition.DOWN) and matches(row)
        )

    def problems(
        self, problems: Iterable[Problem], shown: Iterable[TargetRow]
    ) -> Iterator[Problem]:
        """Yield the problems of the shown targets, and problems without a target."""
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
        """Return the runs of the judged sources."""
        return [run for run in runs if self.judges(run.source)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the filters."""
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME",
        help="poll, judge and show only this source; repeatable",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="poll, judge and show only sources with this label; repeatable",
    )
    parser.add_argument(
        "--kind",
        action="append",
        type=several,
        default=[],
        choices=[kind.value for kind in LISTED],
        help="show only targets of this kind; repeatable or separated by commas",
    )
    parser.add_argument(
        "--state",
        action="append",
        type=several,
        default=[],
        choices=[state.value for state in State],
        help="show only targets in this state; repeatable or separated by commas",
    )
    parser.add_argument(
        "--down", action="store_true", help="show only targets that are down or have a problem"
    )
    parser.add_argument(
        "--group-by",
        metavar="GROUP",
        help="count targets by source, provider or a configured label instead of listing them",
    )


def selected(
    arguments: argparse.Namespace, sources: Iterable[SourceRow | SourceSettings]
) -> tuple[Selection, tuple[str, ...]]:
    """Return the selection that the flags make, and the mistakes in them."""
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
            mistakes.append("no source matches all of --source and --label")
    return Selection(filters=filters, down=arguments.down, sources=narrowed), tuple(mistakes)


def source_names(texts: Iterable[str], known: Container[str]) -> list[str]:
    """Return the names of sources in values, each of which may be a list separated by commas."""
    return [
        name
        # A source's name may itself contain a comma.
        for text in texts
        for name in ((text,) if text in known else several(text))
    ]


def _without_value(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the flags with an empty value, for instance from an empty shell variable."""
    given = {"--source": arguments.source, "--kind": arguments.kind, "--state": arguments.state}
    yield from (f"{flag}=" for flag, texts in given.items() if not all(texts))
    if arguments.group_by == "":
        yield "--group-by="


def _in_flags(mistake: str) -> str:
    """Return an error text about URL parameters with the names of the flags instead."""
    name, space, rest = mistake.partition(" ")
    text = _FLAGS.get(name, name) + space + rest
    return re.sub(rf"(^|[ ,]){re.escape(LABEL)}", r"\1--label ", text)
