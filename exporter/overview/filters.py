"""Filters and the order of targets, all of them parameters of the page's URL.

So a view of the fleet can be sent to a colleague, bookmarked, and found again with "back".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import msgspec

from exporter.fleet.kinds import LISTED, Kind
from exporter.overview.parameters import LABEL, Parameters
from exporter.overview.rows import URGENCY, ClusterRow, Condition, SuiteRow


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.datastructures import QueryParams

    from exporter.overview.rows import TargetRow
    from exporter.overview.sources import SourceRow
    from exporter.sources.settings import SourceSettings


R = TypeVar("R")

#: The groupings of targets in every fleet, besides those by labels.
GROUPS = ("source", "provider")


@unique
class State(StrEnum):
    """A state to filter targets by: a condition, or a fault of a target that may be up."""

    DOWN = "down"
    UNKNOWN = "unknown"
    INACTIVE = "inactive"
    UP = "up"
    OUTDATED = "outdated"
    FAILED = "failed"


@unique
class Order(StrEnum):
    """A column to sort targets by; by default they are sorted by urgency."""

    NAME = "name"
    STATE = "state"
    VERSION = "version"
    CLOCK = "clock"
    PING = "ping"
    READ = "read"
    RUN = "run"
    SOURCE = "source"


@unique
class Section(StrEnum):
    """A part of the board that can be shown as a page of its own."""

    ATTENTION = "attention"
    SOURCES = "sources"
    GROUPS = "groups"
    RUNS = "runs"


#: The columns that the first click sorts in descending order.
_DOWNWARDS = frozenset({Order.CLOCK, Order.PING, Order.RUN})

_NO_STATES: frozenset[State] = frozenset()


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The values of filters that differ from fleet to fleet.

    Attributes:
        sources: The names of all sources.
        labels: The values of each label that the configuration adds to sources.
    """

    sources: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = {}

    @classmethod
    def of(cls, sources: Iterable[SourceRow | SourceSettings]) -> Known:
        """Return the names and labels of some sources."""
        rows = tuple(sources)
        names = sorted({name for row in rows for name in row.labels})
        return cls(
            sources=tuple(row.name for row in rows),
            labels={
                name: tuple(sorted({row.labels[name] for row in rows if name in row.labels}))
                for name in names
            },
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """The possible groupings of targets."""
        return (*GROUPS, *self.labels)


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted part of the fleet, and its order.

    Attributes:
        text: Words that must all occur in a row's text.
        states: The wanted states, of which a target must have any; if empty, all states.
        kinds, sources: The wanted kinds and sources; if empty, all of them.
        labels: The wanted labels with their values.
        descending: Whether `order` is reversed; unknown values stay at the end.
        group: The grouping in which targets are counted: `source`, `provider` or a label.
        limit: The most rows wanted; `None` for all of them.
        offset: The number of rows to skip.
        section: The part of the board to show alone.
    """

    text: str = ""
    states: frozenset[State] = _NO_STATES
    kinds: frozenset[Kind] = frozenset()
    sources: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    order: Order | None = None
    descending: bool = False
    group: str = ""
    limit: int | None = None
    offset: int = 0
    section: Section | None = None

    @classmethod
    def read(cls, query: QueryParams, known: Known) -> tuple[Filters, tuple[str, ...]]:
        """Return the filters that the parameters of a URL demand.

        Returns:
            The filters, and the mistakes, each of which names the parameter and its possible
            values. A mistaken parameter is left out of the filters.
        """
        parameters = Parameters(query)
        order, descending = parameters.order(Order)
        found = cls(
            text=parameters.text("q"),
            states=frozenset(map(State, parameters.among("state", tuple(State)))),
            kinds=frozenset(map(Kind, parameters.among("kind", LISTED))),
            sources=frozenset(parameters.among("source", known.sources)),
            labels=parameters.labels(known.labels),
            order=Order(order) if order else None,
            descending=descending,
            group=next(iter(parameters.among("group", known.groups)), ""),
            limit=parameters.number("limit", 1),
            offset=parameters.number("offset", 0) or 0,
            section=next(iter(map(Section, parameters.among("section", tuple(Section)))), None),
        )
        return found, parameters.mistakes

    @property
    def narrows(self) -> bool:
        """True if the filters exclude anything."""
        return bool(self.text or self.states or self.kinds or self.sources or self.labels)

    @property
    def kind(self) -> Kind | None:
        """The wanted kind, `None` unless it is exactly one."""
        return next(iter(self.kinds)) if len(self.kinds) == 1 else None

    @property
    def source(self) -> str:
        """The wanted source, empty unless it is exactly one."""
        return next(iter(self.sources)) if len(self.sources) == 1 else ""

    def label(self, name: str) -> str:
        """Return the wanted value of a label, empty unless it is exactly one."""
        values = [value for known, value in self.labels if known == name]
        return values[0] if len(values) == 1 else ""

    def within(self, value: str, providers: Mapping[str, Iterable[str]]) -> str:
        """Return the relative URL of the targets in one group.

        Args:
            value: The source, the provider or the label's value that the group shares.
            providers: The sources of each provider.
        """
        if self.group in GROUPS:
            sources = providers.get(value, ()) if self.group == "provider" else (value,)
            return self.address(sources=sources, group="")
        others = tuple(pair for pair in self.labels if pair[0] != self.group)
        return self.address(labels=(*others, (self.group, value)), group="")

    def address(self, **changes: Any) -> str:
        """Return the relative URL of these filters with some changes.

        `offset` and `section` are reset, unless they are among the changes.
        """
        new = msgspec.structs.replace(self, **{"offset": 0, "section": None, **changes})
        pairs = [
            ("q", new.text),
            *(("state", state) for state in State if state in new.states),
            *(("kind", kind) for kind in LISTED if kind in new.kinds),
            *(("source", source) for source in sorted(new.sources)),
            *((LABEL + name, value) for name, value in new.labels),
            ("sort", ("-" if new.descending else "") + new.order if new.order else ""),
            ("group", new.group),
            ("limit", new.limit or ""),
            ("offset", new.offset or ""),
            ("section", new.section or ""),
        ]
        return "?" + urlencode([(name, value) for name, value in pairs if value])

    def sorted_by(self, order: Order) -> str:
        """Return the relative URL to which the head of a column links."""
        if self.order is order:
            return self.address(descending=not self.descending)
        return self.address(order=order, descending=order in _DOWNWARDS)

    def direction(self, order: Order) -> str | None:
        """Return the `aria-sort` attribute of a column, `None` if it is not sorted by."""
        if self.order is not order:
            return None
        return "descending" if self.descending else "ascending"

    @property
    def canonical(self) -> str:
        """The relative URL of these filters in canonical form."""
        return self.address(offset=self.offset, section=self.section)

    def covers(self, source: str, labels: Mapping[str, str]) -> bool:
        """Return whether the filters admit a source with these labels."""
        if self.sources and source not in self.sources:
            return False
        return labelled(self.labels)(labels)

    def matcher(
        self, said: Callable[[TargetRow], str] | None = None
    ) -> Callable[[TargetRow], bool]:
        """Return a function that checks whether a row is wanted.

        Args:
            said: Returns the text of `searchable` from a cache.
        """
        words = self.text.casefold().split()
        tests = [_TESTS[state] for state in self.states]
        has_labels = labelled(self.labels)

        def matches(row: TargetRow) -> bool:
            if self.kinds and row.kind not in self.kinds:
                return False
            if self.sources and row.source not in self.sources:
                return False
            if not has_labels(row.labels):
                return False
            if tests and not any(test(row) for test in tests):
                return False
            if not words:
                return True
            text = (said or searchable)(row)
            return all(word in text for word in words)

        return matches

    def arranged(self, rows: Iterable[TargetRow]) -> list[TargetRow]:
        """Return rows, which must be sorted by urgency, in the wanted order."""
        if self.order is None:
            return list(rows)
        kinds: dict[Kind, list[TargetRow]] = {kind: [] for kind in LISTED}
        for row in in_order(rows, _VALUES[self.order], descending=self.descending):
            kinds[row.kind].append(row)
        return [row for same in kinds.values() for row in same]


def labelled(wanted: Iterable[tuple[str, str]]) -> Callable[[Mapping[str, str]], bool]:
    """Return a function that checks whether labels are wanted.

    Args:
        wanted: Names with values; of several values of a name, a label must have any.
    """
    values: dict[str, set[str]] = {}
    for name, value in wanted:
        values.setdefault(name, set()).add(value)
    return lambda labels: all(labels.get(name) in values[name] for name in values)


def in_order(rows: Iterable[R], value: Callable[[R], Any], *, descending: bool = False) -> list[R]:
    """Return rows sorted by a value; rows without a value come last in either direction."""
    found = [(value(row), row) for row in rows]
    known = [pair for pair in found if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    return [row for _, row in known] + [row for worth, row in found if worth is None]


def by_state(rows: Sequence[TargetRow]) -> list[tuple[State, list[TargetRow]]]:
    """Return the rows of each state that occurs."""
    found = ((state, list(filter(test, rows))) for state, test in _TESTS.items())
    return [(state, having) for state, having in found if having]


def _is(condition: Condition) -> Callable[[TargetRow], bool]:
    return lambda row: row.state is condition


_TESTS: dict[State, Callable[[TargetRow], bool]] = {
    State.DOWN: _is(Condition.DOWN),
    State.UNKNOWN: _is(Condition.UNKNOWN),
    State.INACTIVE: _is(Condition.INACTIVE),
    State.UP: _is(Condition.UP),
    State.OUTDATED: lambda row: row.outdated is True,
    State.FAILED: lambda row: isinstance(row, SuiteRow) and row.last_run_passed is False,
}


def searchable(row: TargetRow) -> str:
    """Return the searchable text of a row in lower case."""
    parts: list[str | None] = [
        row.name,
        row.id,
        row.host,
        row.location,
        row.version,
        row.source,
        row.provider,
        row.state,
        row.reason,
        "outdated" if row.outdated else None,
        *row.labels.values(),
    ]
    if isinstance(row, ClusterRow):
        parts.append(row.controller)
        for member in row.members:
            parts += (member.name, member.agent_id, member.reason)
    return "\n".join([part for part in parts if part]).casefold()


def _version(row: TargetRow) -> Sequence[int] | None:
    return [int(number) for number in re.findall(r"[0-9]{1,18}", row.version or "")] or None


def _clock(row: TargetRow) -> float | None:
    return None if row.clock_delta_seconds is None else abs(row.clock_delta_seconds)


def _newest_run(row: TargetRow) -> float | None:
    return row.last_run_end_timestamp_seconds if isinstance(row, SuiteRow) else None


def _age(row: TargetRow) -> float | None:
    return None if row.read_timestamp_seconds is None else -row.read_timestamp_seconds


_VALUES: dict[Order, Callable[[TargetRow], Any]] = {
    Order.NAME: lambda row: (row.name or row.id).casefold(),
    Order.STATE: lambda row: URGENCY[row.state],
    Order.VERSION: _version,
    Order.CLOCK: _clock,
    Order.PING: lambda row: row.ping_duration_seconds,
    Order.READ: _age,
    Order.RUN: _newest_run,
    Order.SOURCE: lambda row: row.source.casefold(),
}
