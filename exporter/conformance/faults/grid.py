"""The grid of faults: each with each provider, operation and moment, and a sample of it.

A cell is a fault, a provider, an operation or all of them, and a moment: the first poll, or one
after a good one. What a fault has to be told as stands with it, in `wire.py`, `values.py` and
`texts.py`, and what must hold of every cell in `play.py`.
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

#: So many sources are polled at once.
TOGETHER = 32


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, and to whom and when it is played.

    Attributes:
        candidate: The provider, and its vendor.
        operation: Which of its calls are struck.
        known: Whether a good poll came before.
    """

    fault: Fault
    candidate: Candidate
    operation: str
    known: bool

    def __str__(self) -> str:
        moment = "after a good one" if self.known else "first poll"
        return f"{self.fault.name!r} to {self.operation} of {self.candidate.name}, {moment}"


def cells(candidates: Iterable[Candidate], faults: Iterable[Fault] = FAULTS) -> Iterator[Cell]:
    """Yield the whole grid."""
    for fault in faults:
        for candidate in candidates:
            operations = () if fault.on_connections else tuple(candidate.operations)
            for operation in (ALL, *operations):
                for known in (False, True):
                    yield Cell(fault=fault, candidate=candidate, operation=operation, known=known)


def sample(grid: Iterable[Cell], seed: int) -> list[Cell]:
    """Return a part of the grid in which all that matters is at least once.

    That is each fault, each class of them to each provider at both moments, and each operation at
    both.
    """
    chance = Random(seed)  # noqa: S311 - repeatable, not secret
    grid = list(grid)
    chance.shuffle(grid)
    wanted: set[tuple[Any, ...]] = set()
    for cell in grid:
        wanted.update(_pairs(cell))
    found = []
    # Those of all calls first, since there the outcome is exact.
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
    """Divide cells into plays of sources that wait for the same times."""
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
    """Return where a play begins."""
    return str(batch[0])
