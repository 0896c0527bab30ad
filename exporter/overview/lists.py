"""The lists of the JSON API: their rows, and how they can be filtered, sorted and paged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.datastructures import QueryParams

from exporter.alerts.rule import Severity
from exporter.fleet.kinds import Kind
from exporter.overview.filters import Filters, Known, in_order, labelled
from exporter.overview.parameters import Parameters
from exporter.overview.picture import Picture
from exporter.overview.problems import RANKS, Problem
from exporter.overview.rows import ROWS, URGENCY, AlertView, Condition, TargetRow
from exporter.overview.sources import SourceRow


#: Returns a value of a row.
Value = Callable[[Any], Any]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted part of a list.

    Attributes:
        matches: Returns whether a row is wanted.
        arranged: Sorts the wanted rows.
        offset, limit: The page of the wanted rows; without a limit, all rows after the offset.
    """

    matches: Callable[[Any], bool]
    arranged: Callable[[Iterable[Any]], list[Any]]
    offset: int
    limit: int | None

    def among(self, rows: Iterable[Any]) -> tuple[list[Any], int]:
        """Return the page of wanted rows, and the number of all wanted rows."""
        found = self.arranged(filter(self.matches, rows))
        end = None if self.limit is None else self.offset + self.limit
        return found[self.offset : end], len(found)


class FleetList(msgspec.Struct, frozen=True, kw_only=True):
    """A list of the API.

    Attributes:
        name: The name in the answer and in the URL.
        types: The types of its rows, whose fields are the columns.
        rows: Returns all rows of a picture.
        read: Returns the rows that a URL wants, and the mistakes in the URL.
    """

    name: str
    types: tuple[type[msgspec.Struct], ...]
    rows: Callable[[Picture], Sequence[Any]]
    read: Callable[[QueryParams, Picture], tuple[Wanted, tuple[str, ...]]]


def _targets(query: QueryParams, picture: Picture) -> tuple[Wanted, tuple[str, ...]]:
    filters, mistakes = Filters.read(query, Known.of(picture.sources))
    parameters = Parameters(query)
    parameters.only(("q", "state", "kind", "source", "sort", "limit", "offset"))
    wanted = Wanted(
        matches=filters.matcher(),
        arranged=filters.arranged,
        offset=filters.offset,
        limit=filters.limit,
    )
    return wanted, (*parameters.mistakes, *mistakes)


class _Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The filters and orders of a list whose rows have the same type.

    Attributes:
        rows: Returns all rows of a picture.
        values: By parameter, a function that returns a row's value to filter by.
        known: By parameter, the possible values; those of `source` are the sources' names.
        orders: By value of `sort`, a function that returns a row's value to sort by.
        searched: Yields the searchable texts of a row.
    """

    rows: Callable[[Picture], Sequence[Any]]
    values: Mapping[str, Value]
    known: Mapping[str, Sequence[str]]
    orders: Mapping[str, Value]
    searched: Callable[[Any], Iterator[str | None]]

    def read(self, query: QueryParams, picture: Picture) -> tuple[Wanted, tuple[str, ...]]:
        """Return the rows that a URL wants, and the mistakes in the URL."""
        known, parameters = Known.of(picture.sources), Parameters(query)
        parameters.only(("q", *self.values, "sort", "limit", "offset"))
        source = self.values["source"]
        # An alert can outlive its source.
        sources = dict.fromkeys((*known.sources, *filter(None, map(source, self.rows(picture)))))
        choices = {
            name: frozenset(parameters.among(name, self.known.get(name, tuple(sources))))
            for name in self.values
        }
        has_labels = labelled(parameters.labels(known.labels))
        words = parameters.text("q").casefold().split()
        order, descending = parameters.order(self.orders)

        def matches(row: Any) -> bool:
            if not all(
                self.values[name](row) in chosen for name, chosen in choices.items() if chosen
            ):
                return False
            if not has_labels(row.labels):
                return False
            text = "\n".join(filter(None, self.searched(row))).casefold() if words else ""
            return all(word in text for word in words)

        def arranged(rows: Iterable[Any]) -> list[Any]:
            if not order:
                return list(rows)
            return in_order(rows, self.orders[order], descending=descending)

        wanted = Wanted(
            matches=matches,
            arranged=arranged,
            limit=parameters.number("limit", 1),
            offset=parameters.number("offset", 0) or 0,
        )
        return wanted, parameters.mistakes


def _texts_of_source(row: SourceRow) -> Iterator[str | None]:
    yield from (row.name, row.provider, row.url, row.state, *row.labels.values())
    for task in row.tasks:
        yield task.name
        if task.last_failure is not None:
            yield from (task.last_failure.reason, task.last_failure.message)


def _texts_of_alert(row: AlertView) -> Iterator[str | None]:
    yield from (row.name, row.state, *row.labels.values(), *row.annotations.values())


def _texts_of_problem(row: Problem) -> Iterator[str | None]:
    yield from (row.alert, row.severity, row.name, row.id, row.kind, row.description)
    yield from row.labels.values()


def _name(row: Any) -> str:
    return str(row.name).casefold()


def _since(row: Any) -> float | None:
    found: float | None = row.since_timestamp_seconds
    return found


def _of_alert(row: AlertView) -> str:
    return row.labels.get("source", "")


_SOURCES = _Chosen(
    rows=lambda picture: picture.sources,
    values={"state": lambda row: row.state, "source": lambda row: row.name},
    known={"state": tuple(each for each in Condition if each is not Condition.INACTIVE)},
    orders={
        "name": _name,
        "state": lambda row: URGENCY[row.state],
        "provider": lambda row: row.provider,
    },
    searched=_texts_of_source,
)

_ALERTS = _Chosen(
    rows=lambda picture: picture.alerts or (),
    values={
        "state": lambda row: row.state,
        "severity": lambda row: row.severity,
        "source": _of_alert,
    },
    known={"state": ("pending", "firing"), "severity": tuple(Severity)},
    orders={
        "name": _name,
        "severity": lambda row: RANKS.get(row.severity),
        "since": _since,
        "source": _of_alert,
    },
    searched=_texts_of_alert,
)

_PROBLEMS = _Chosen(
    rows=lambda picture: picture.problems,
    values={
        "severity": lambda row: row.severity,
        "kind": lambda row: row.kind,
        "source": lambda row: row.source,
    },
    known={
        "severity": tuple(each for each in Severity if each is not Severity.NONE),
        "kind": tuple(Kind),
    },
    orders={
        "name": _name,
        "severity": lambda row: RANKS[row.severity],
        "since": _since,
        "source": lambda row: row.source.casefold(),
    },
    searched=_texts_of_problem,
)

TARGETS = FleetList(
    name="targets",
    types=(TargetRow, *ROWS.values()),
    rows=lambda picture: picture.targets,
    read=_targets,
)
SOURCES = FleetList(name="sources", types=(SourceRow,), rows=_SOURCES.rows, read=_SOURCES.read)
ALERTS = FleetList(name="alerts", types=(AlertView,), rows=_ALERTS.rows, read=_ALERTS.read)
PROBLEMS = FleetList(name="problems", types=(Problem,), rows=_PROBLEMS.rows, read=_PROBLEMS.read)
