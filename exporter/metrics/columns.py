"""Ways to take values out of readings: the columns that the table in `mapping` is made of.

They read with an `attrgetter`, so that between two targets there is no line of Python.
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
#: The values of further labels, and the value below them.
Labelled = tuple[tuple[str, ...], Value]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A family of targets.

    Attributes:
        part: The attribute of the target that is read from; empty for the target itself. Where it
            is `None` the family has no value.
        read: Takes the value from that part, or whatever `spread` makes values of.
        is_boolean: Whether the values are booleans.
        spread: For a family with more labels than those of the target, which has no, one or many
            values: makes them of what was read. The same always gives the same.
    """

    family: c.Family
    part: str
    read: Callable[[Any], Any]
    is_boolean: bool = False
    spread: Callable[[Any], Iterable[Labelled]] | None = None


class TargetMapping(msgspec.Struct, frozen=True, kw_only=True):
    """The families that a kind of target fills.

    Attributes:
        labels: The names of the labels that identify a target.
        identity: Takes their values from the target.
        parts: Ways to take a part from the target, each with the columns that read from it.
        targets: The targets within a reading.
    """

    labels: tuple[str, ...]
    identity: Callable[[Any], tuple[str, ...]]
    parts: tuple[tuple[Callable[[Any], Any], tuple[Column, ...]], ...]
    targets: Callable[[Any], Iterable[Any]]


class _Absent:
    """Stands for a part that is `None`: all that could be read from it is absent."""

    def __getattr__(self, name: str) -> None:
        return None


_ABSENT = _Absent()


def mapped(
    labels: tuple[str, ...],
    *columns: Column,
    fields: tuple[str, ...] = (),
    targets: Callable[[Any], Iterable[Any]] = lambda reading: (reading,),
) -> TargetMapping:
    """Map targets that are identified by `fields`, which are called as the labels if not given."""
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
    """Read an attribute, such as `state.users_limit`; with `more` of that part, a tuple."""
    part, _, field = path.rpartition(".")
    return Column(family=family, part=part, read=attrgetter(field, *more), **options)


number = attribute
boolean = partial(attribute, is_boolean=True)


def by_key(family: c.Family, path: str) -> Column:
    """Read a mapping, whose keys are the values of the one further label."""

    def spread(counts: Mapping[str, float] | None) -> Iterable[Labelled]:
        return [((key,), value) for key, value in (counts or {}).items()]

    return attribute(family, path, spread=spread)


def failure(family: c.Family, part: str) -> Column:
    """Read the reason while a target is not up."""

    def spread(found: tuple[bool | None, Reason | None]) -> Iterable[Labelled]:
        up, reason = found
        if up is False and reason is not None:
            return (((reason.value,), True),)
        return ()

    return attribute(family, f"{part}.up", "reason", spread=spread)


def info(family: c.Family, *fields: str) -> Column:
    """Read the values of the further labels."""
    return Column(family=family, part="", read=_values(fields), spread=one)


def one(values: tuple[str, ...]) -> Iterable[Labelled]:
    """Return the one sample, of value 1, that tells the values of the further labels."""
    return ((values, True),)
