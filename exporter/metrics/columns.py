"""Columns, which make up the table in `mapping`; each reads one family's values.

They read with an `attrgetter`, which needs no Python code per target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from exporter.errors import Reason


Value = float | bool | None
#: The values of additional labels, and the sample's value.
Labelled = tuple[tuple[str, ...], Value]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one family, read from targets.

    Attributes:
        part: The target's attribute to read from; empty for the target itself. If the attribute is
            `None`, the family has no value.
        read: Returns the value from that part, or the input of `spread`.
        is_boolean: Whether the values are booleans.
        spread: For a family with additional labels, which has any number of values per target:
            returns the values. It must be a pure function.
    """

    family: c.Family
    part: str
    read: Callable[[Any], Any]
    is_boolean: bool = False
    spread: Callable[[Any], Iterable[Labelled]] | None = None


class TargetMapping(msgspec.Struct, frozen=True, kw_only=True):
    """The families of a kind of target.

    Attributes:
        labels: The names of the labels that identify a target.
        identity: Returns the values of these labels for a target.
        parts: Pairs of a function that returns a part of the target, and the columns that read
            from that part.
        targets: Returns the targets within a reading.
    """

    labels: tuple[str, ...]
    identity: Callable[[Any], tuple[str, ...]]
    parts: tuple[tuple[Callable[[Any], Any], tuple[Column, ...]], ...]
    targets: Callable[[Any], Iterable[Any]]


class _Absent:
    """Substitute for a part that is `None`: all its attributes are `None`."""

    def __getattr__(self, name: str) -> None:
        return None


_ABSENT = _Absent()


def mapped(
    labels: tuple[str, ...],
    *columns: Column,
    fields: tuple[str, ...] = (),
    targets: Callable[[Any], Iterable[Any]] = lambda reading: (reading,),
) -> TargetMapping:
    """Return a mapping of targets.

    Args:
        labels: The names of the labels that identify a target.
        columns: The families' columns.
        fields: The target's attributes with the labels' values; named like the labels by default.
        targets: Returns the targets within a reading; the reading itself by default.
    """
    parts: dict[str, list[Column]] = {}
    for column in columns:
        parts.setdefault(column.part, []).append(column)
    return TargetMapping(
        labels=labels,
        identity=_values(fields or labels),
        parts=tuple((_part(path), tuple(some)) for path, some in parts.items()),
        targets=targets,
    )


def _part(path: str) -> Callable[[Any], Any]:
    if not path:
        return lambda target: target
    read = attrgetter(path)
    return lambda target: read(target) or _ABSENT


def _values(fields: tuple[str, ...]) -> Callable[[Any], tuple[str, ...]]:
    if len(fields) > 1:
        return attrgetter(*fields)
    reads = tuple(attrgetter(field) for field in fields)
    return lambda row: tuple([read(row) for read in reads])


def attribute(family: c.Family, path: str, *more: str, **options: Any) -> Column:
    """Return a column that reads an attribute, such as `state.users_limit`.

    Args:
        family: The family.
        path: The attribute's dotted path.
        more: More attributes of the same part; the column then reads a tuple.
        options: More fields of the column.
    """
    part, _, field = path.rpartition(".")
    return Column(family=family, part=part, read=attrgetter(field, *more), **options)


number = attribute
boolean = partial(attribute, is_boolean=True)


def by_key(family: c.Family, path: str) -> Column:
    """Return a column that reads a mapping, whose keys are values of the additional label."""

    def spread(counts: Mapping[str, float] | None) -> Iterable[Labelled]:
        return [((key,), value) for key, value in (counts or {}).items()]

    return attribute(family, path, spread=spread)


def failure(family: c.Family, part: str) -> Column:
    """Return a column that reads the failure's reason while a target is down."""

    def spread(found: tuple[bool | None, Reason | None]) -> Iterable[Labelled]:
        up, reason = found
        if up is False and reason is not None:
            return (((reason.value,), True),)
        return ()

    return attribute(family, f"{part}.up", "reason", spread=spread)


def info(family: c.Family, *fields: str) -> Column:
    """Return a column that reads the values of the additional labels of an info family."""
    return Column(family=family, part="", read=_values(fields), spread=one)


def one(values: tuple[str, ...]) -> Iterable[Labelled]:
    """Return the single sample of an info family, with value 1."""
    return ((values, True),)
