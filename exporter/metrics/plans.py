"""The words in which `samples` says where the values of a family stand in a reading.

A plan is read column by column: what it takes from a target is an `attrgetter`, so that thousands
of targets are walked without a line of Python between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.metrics.catalogue import Family


if TYPE_CHECKING:
    from exporter.errors import Reason
    from exporter.fleet.readings import Target


Value = float | bool | None
#: A value below further labels, whose values come first.
Labelled = tuple[tuple[str, ...], Value]


class Column(msgspec.Struct, frozen=True):
    """A family with one value per target.

    Attributes:
        read: Takes the value from a row.
        flag: Whether the values are booleans.
    """

    family: Family
    read: Callable[[Any], Any]
    flag: bool = False


class Spread(msgspec.Struct, frozen=True):
    """A family with more labels than those of the target: no, one or many values per target.

    Attributes:
        read: Takes from a row what the values are made of; where that is what it was, so are they.
        spread: Makes the values.
    """

    family: Family
    read: Callable[[Any], Any]
    spread: Callable[[Any], Iterable[Labelled]]


Columns = tuple[Column | Spread, ...]


class Table(msgspec.Struct, frozen=True):
    """Columns that read from the same part of a target.

    Attributes:
        row: Takes that part from the target.
    """

    row: Callable[[Any], Any]
    columns: Columns


class Plan(msgspec.Struct, frozen=True):
    """What a kind of target fills.

    Attributes:
        labels: The names of the labels that identify a target.
        identity: Takes their values from the target.
        tables: What it fills.
        targets: The targets within a reading.
    """

    labels: tuple[str, ...]
    identity: Callable[[Any], tuple[str, ...]]
    tables: tuple[Table, ...]
    targets: Callable[[Any], Iterable[Any]] = lambda reading: (reading,)


class _Nothing:
    """Stands for a part that is missing: all that could be read from it is absent."""

    def __getattr__(self, name: str) -> None:
        return None


NOTHING = _Nothing()


def number(family: Family, field: str) -> Column:
    """Make a column of a quantity from the field's name."""
    return Column(family, attrgetter(field))


def flag(family: Family, field: str) -> Column:
    """Make a column of a boolean from the field's name."""
    return Column(family, attrgetter(field), flag=True)


def by_key(family: Family, field: str) -> Spread:
    """Spread a mapping, whose keys are the values of the one further label."""

    def spread(counts: Mapping[str, float] | None) -> Iterable[Labelled]:
        return [((key,), value) for key, value in (counts or {}).items()]

    return Spread(family, attrgetter(field), spread)


def failure(family: Family) -> Spread:
    """Make the series that names the reason while a target is not up."""

    def spread(found: tuple[bool | None, Reason | None]) -> Iterable[Labelled]:
        up, reason = found
        if up is False and reason is not None:
            return (((reason.value,), True),)
        return ()

    return Spread(family, attrgetter("up", "reason"), spread)


def info(family: Family, *fields: str) -> Spread:
    """Make an info family from the names of the fields that describe."""
    return Spread(family, _values(*fields), _one)


def target_info(family: Family, *more: str) -> Spread:
    """Make the info family of a machine: where it is, what runs on it, and `more` of its state."""
    facts = ("version", "os", "os_version", "java_version", "java_vendor")
    # In the catalogue's order: the location stands behind the facts.
    of_state = [f"state.{fact}" for fact in (*facts, *more)]
    known = attrgetter("host", "port", *of_state[: len(facts)], "location", *of_state[len(facts) :])

    def read(target: Target) -> tuple[str, ...]:
        if target.state is not None:
            return known(target)
        return (target.host, target.port, *("",) * len(facts), target.location, *("",) * len(more))

    return Spread(family, read, _one)


def plan(*names: str, own: Columns, **parts: Columns) -> Plan:
    """Make a plan for targets that are identified by fields called as the labels are.

    Args:
        names: The labels.
        own: Columns that read from the target itself.
        parts: Columns that read from a field of it, which may be absent.
    """
    tables = [Table(_itself, own)]
    tables += [Table(_part(field), columns) for field, columns in parts.items()]
    return Plan(names, _values(*names), tuple(tables))


def _itself(target: object) -> object:
    return target


def _part(name: str) -> Callable[[Any], Any]:
    read = attrgetter(name)
    return lambda target: read(target) or NOTHING


def _values(*fields: str) -> Callable[[Any], tuple[str, ...]]:
    if len(fields) > 1:
        return attrgetter(*fields)
    reads = tuple(attrgetter(field) for field in fields)
    return lambda row: tuple([read(row) for read in reads])


def _one(values: tuple[str, ...]) -> Iterable[Labelled]:
    return ((values, True),)
