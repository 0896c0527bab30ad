"""The grid of faults: every combination of fault, provider, operation and moment.

A cell of the grid is a fault, a provider, one operation or all, and a moment: the first poll, or a
poll after a good one. The modules `wire`, `values` and `texts` have the faults with their expected
reasons; the module `play` has the checks for every cell.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.conformance.candidate import Candidate
from exporter.conformance.faults import texts, values, wire
from exporter.conformance.faults.table import Fault


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


FAULTS: tuple[Fault, ...] = (
    *(*wire.CONNECTIONS, *wire.WIRE, *wire.STATUS),
    *(*values.VALUES, *texts.TEXTS, *values.TIMES, *values.SHAPES, *values.ENCODINGS),
)

ALL = "all"

#: The largest number of faulty sources in one play.
TOGETHER = 32


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A fault to inject, and where and when.

    Attributes:
        fault: The fault.
        candidate: The provider with its vendor.
        operation: The operation whose calls are hit, or `ALL`.
        known: Whether a good poll precedes the fault.
    """

    fault: Fault
    candidate: Candidate
    operation: str
    known: bool

    def __str__(self) -> str:
        moment = "after a good poll" if self.known else "first poll"
        return f"{self.fault.name!r} to {self.operation} of {self.candidate.name}, {moment}"


def cells(candidates: Iterable[Candidate], faults: Iterable[Fault] = FAULTS) -> Iterator[Cell]:
    """Yield all cells of the grid."""
    for fault in faults:
        for candidate in candidates:
            operations = () if fault.on_connections else tuple(candidate.operations)
            for operation in (ALL, *operations):
                for known in (False, True):
                    yield Cell(fault=fault, candidate=candidate, operation=operation, known=known)


def sample(grid: Iterable[Cell], seed: int) -> list[Cell]:
    """Return a random part of the grid that covers the important combinations.

    These are every fault, every group of faults with every provider at both moments, and every
    operation at both moments.
    """
    chance = Random(seed)  # noqa: S311 - repeatable, not secret
    grid = list(grid)
    chance.shuffle(grid)
    wanted: set[tuple[Any, ...]] = set()
    for cell in grid:
        wanted.update(_pairs(cell))
    found = []
    # Prefer cells that hit all operations, because their expected outcome is exact.
    for cell in sorted(grid, key=lambda each: each.operation != ALL):
        news = wanted & _pairs(cell)
        if news:
            wanted -= news
            found.append(cell)
    return found


def _pairs(cell: Cell) -> set[tuple[Any, ...]]:
    return {
        (cell.fault.group, cell.fault.name),
        (cell.fault.group, cell.candidate.name, cell.known),
        (cell.candidate.name, cell.operation, cell.known),
    }


def batches(found: Iterable[Cell]) -> list[list[Cell]]:
    """Return cells grouped into plays; the cells of a play need the same pauses of the clock."""
    groups: dict[tuple[bool, bool, float], list[Cell]] = {}
    for cell in found:
        key = (cell.known, cell.fault.lasts, cell.fault.recovery_seconds)
        groups.setdefault(key, []).append(cell)
    return [
        group[at : at + TOGETHER]
        for _, group in sorted(groups.items(), key=lambda each: each[0])
        for at in range(0, len(group), TOGETHER)
    ]


def name_of(batch: list[Cell]) -> str:
    """Return the name of a play, that of its first cell."""
    return str(batch[0])
