"""Filters and an order of targets, all of it in the page's address.

So a view of the fleet can be sent to a colleague, kept as a bookmark and found again with "back".
"""

from __future__ import annotations

import re
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import msgspec

from exporter.fleet.kinds import LISTED, Kind
from exporter.overview.rows import URGENCY, ClusterRow, Condition, SuiteRow


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.datastructures import QueryParams

    from exporter.overview.rows import TargetRow


S = TypeVar("S", bound=StrEnum)


@unique
class Badge(StrEnum):
    """A property targets are filtered by: a condition, or what is wrong with one that is up."""

    DOWN = "down"
    UNKNOWN = "unknown"
    INACTIVE = "inactive"
    UP = "up"
    OUTDATED = "outdated"
    FAILED = "failed"


@unique
class Order(StrEnum):
    """A column targets are sorted by; without one they are sorted by urgency."""

    NAME = "name"
    STATE = "state"
    VERSION = "version"
    CLOCK = "clock"
    PING = "ping"
    READ = "read"
    RUN = "run"
    SOURCE = "source"


#: Columns that the first click sorts from the largest down.
_DOWNWARDS = frozenset({Order.CLOCK, Order.PING, Order.RUN})

_NO_BADGES: frozenset[Badge] = frozenset()


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the fleet somebody wants to see, and its order.

    Attributes:
        text: Words that must all occur in what a row says.
        badges: Any of them must hold; all targets if there are none.
        descending: Turns `order` around; what is unknown stays at the end.
    """

    text: str = ""
    badges: frozenset[Badge] = _NO_BADGES
    kind: Kind | None = None
    source: str = ""
    order: Order | None = None
    descending: bool = False

    @classmethod
    def of(cls, query: QueryParams) -> Filters:
        """Read an address; what it says that is not known is left out of account."""
        order = query.get("sort", "")
        return cls(
            text=query.get("q", "").strip(),
            badges=frozenset(Badge(text) for text in query.getlist("state") if text in set(Badge)),
            kind=_member(LISTED, query.get("kind", "")),
            source=query.get("source", ""),
            order=_member(Order, order.removeprefix("-")),
            descending=order.startswith("-"),
        )

    @property
    def narrows(self) -> bool:
        """Whether anything is left out."""
        return bool(self.text or self.badges or self.kind or self.source)

    def address(self, **changes: Any) -> str:
        """Return the relative address of these filters with some of them changed."""
        new = msgspec.structs.replace(self, **changes)
        pairs = [
            ("q", new.text),
            *(("state", badge) for badge in Badge if badge in new.badges),
            ("kind", new.kind or ""),
            ("source", new.source),
            ("sort", ("-" if new.descending else "") + new.order if new.order else ""),
        ]
        return "?" + urlencode([(name, value) for name, value in pairs if value])

    def sorted_by(self, order: Order) -> str:
        """Return the address a click on a column's head leads to."""
        if self.order is order:
            return self.address(descending=not self.descending)
        return self.address(order=order, descending=order in _DOWNWARDS)

    def direction(self, order: Order) -> str | None:
        """Return the `aria-sort` of a column."""
        if self.order is not order:
            return None
        return "descending" if self.descending else "ascending"

    def matcher(self) -> Callable[[TargetRow], bool]:
        """Return what tells whether a row is wanted."""
        words = self.text.casefold().split()
        tests = [_TESTS[badge] for badge in self.badges]

        def matches(row: TargetRow) -> bool:
            if self.kind and row.kind is not self.kind:
                return False
            if self.source and row.source != self.source:
                return False
            if tests and not any(test(row) for test in tests):
                return False
            if not words:
                return True
            text = _searchable(row)
            return all(word in text for word in words)

        return matches

    def arranged(self, rows: Iterable[TargetRow]) -> list[TargetRow]:
        """Sort rows that are sorted by urgency already."""
        if self.order is None:
            return list(rows)
        value = _VALUES[self.order]
        found = [(value(row), row) for row in rows]
        known = [pair for pair in found if pair[0] is not None]
        known.sort(key=lambda pair: pair[0], reverse=self.descending)
        unknown = [pair for pair in found if pair[0] is None]
        return sorted((row for _, row in known + unknown), key=lambda row: LISTED.index(row.kind))


def badges_of(rows: Sequence[TargetRow]) -> list[tuple[Badge, int]]:
    """Count the rows of each badge, leaving out badges of none."""
    counts = {badge: sum(map(test, rows)) for badge, test in _TESTS.items()}
    return [(badge, number) for badge, number in counts.items() if number]


def _is(condition: Condition) -> Callable[[TargetRow], bool]:
    return lambda row: row.state is condition


_TESTS: dict[Badge, Callable[[TargetRow], bool]] = {
    Badge.DOWN: _is(Condition.DOWN),
    Badge.UNKNOWN: _is(Condition.UNKNOWN),
    Badge.INACTIVE: _is(Condition.INACTIVE),
    Badge.UP: _is(Condition.UP),
    Badge.OUTDATED: lambda row: row.outdated is True,
    Badge.FAILED: lambda row: isinstance(row, SuiteRow) and row.last_run_passed is False,
}


def _searchable(row: TargetRow) -> str:
    """Return everything of a row that can be searched, in one lower-case text."""
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


_VALUES: dict[Order, Callable[[TargetRow], Any]] = {
    Order.NAME: lambda row: (row.name or row.id).casefold(),
    Order.STATE: lambda row: URGENCY[row.state],
    Order.VERSION: _version,
    Order.CLOCK: _clock,
    Order.PING: lambda row: row.ping_duration_seconds,
    Order.READ: lambda row: row.age_seconds,
    Order.RUN: _newest_run,
    Order.SOURCE: lambda row: row.source.casefold(),
}


def _member(values: Iterable[S], text: str) -> S | None:
    return next((value for value in values if value == text), None)
