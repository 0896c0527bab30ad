"""Render the samples of one snapshot, column by column.

Targets are taken in shards. A shard keeps the rendered labels of its targets and, per family, the
lines and what they were made of: what did not change is neither written nor packed again, and
rendering can pause between two shards so that it never holds the event loop for long.
"""

from __future__ import annotations

from itertools import chain, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from exporter.fleet.readings import Reading
from exporter.metrics.exposition import numbers
from exporter.metrics.exposition.body import Piece
from exporter.metrics.exposition.labels import block
from exporter.metrics.mapping import PLANS
from exporter.metrics.plans import Column, Plan, Spread


if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Mapping, Sequence

    from exporter.fleet.store import Snapshot
    from exporter.metrics.catalogue import Family


#: Targets per shard: some thousand samples, about a millisecond.
SHARD_TARGETS = 256

_FLAGS = {True: "1.0", False: "0.0"}

Identity = tuple[str, ...]
PlanKey = tuple[type[Reading], int]


class _Lines:
    """The lines of one family in a shard.

    Attributes:
        made_of: What they were rendered from; equal means that they need no rendering.
        piece: Their bytes.
        blocks: The rendered labels of a spread family, by target and further label values.
    """

    __slots__ = ("blocks", "made_of", "piece")

    def __init__(
        self,
        made_of: object,
        piece: Piece,
        blocks: Mapping[tuple[int, Identity], str] = MappingProxyType({}),
    ) -> None:
        self.made_of = made_of
        self.piece = piece
        self.blocks = blocks


class _Shard:
    """Some targets of a snapshot, rendered."""

    __slots__ = ("_labels", "blocks", "identities", "lines")

    blocks: list[str]

    def __init__(
        self,
        plan: Plan,
        targets: Mapping[Identity, Any],
        labels: dict[str, str],
        old: _Shard | None,
    ) -> None:
        self._labels = labels
        self.identities = list(targets)
        if old is not None and old.identities == self.identities:
            self.blocks = old.blocks
        else:
            old = None
            self.blocks = [
                block(labels | dict(zip(plan.labels, identity, strict=True)))
                for identity in self.identities
            ]
        self.lines: dict[str, _Lines] = {}
        for table in plan.tables:
            rows = [table.row(target) for target in targets.values()]
            for column in table.columns:
                name = column.family.name
                known = old.lines[name] if old is not None else None
                self.lines[name] = self._render(column, rows, known)

    def _render(self, column: Column | Spread, rows: Sequence[Any], known: _Lines | None) -> _Lines:
        if isinstance(column, Spread):
            lines = self._render_spread(column, rows, known)
        else:
            lines = self._render_column(column, rows, known)
        if known is not None and known.piece.text == lines.piece.text:
            # The old piece may be packed already.
            lines.piece = known.piece
        return lines

    def _render_column(self, column: Column, rows: Sequence[Any], known: _Lines | None) -> _Lines:
        values = list(map(column.read, rows))
        if column.flag:
            if known is not None and known.made_of == values:
                return known
            written = list(map(_FLAGS.get, values))
            return _Lines(values, _piece(column.family, self.blocks, written))
        encoded = numbers.encode(values)
        # Absent and infinite numbers are encoded alike.
        if known is not None and known.made_of == encoded and b"null" not in encoded:
            return known
        written = numbers.texts(values, encoded)
        return _Lines(encoded, _piece(column.family, self.blocks, written))

    def _render_spread(self, column: Spread, rows: Sequence[Any], known: _Lines | None) -> _Lines:
        made_of = list(map(column.read, rows))
        if known is not None and known.made_of == made_of:
            return known
        names = column.family.labels
        old_blocks = known.blocks if known is not None else {}
        blocks: dict[tuple[int, Identity], str] = {}
        values: list[float | None] = []
        for index, labelled in enumerate(map(column.spread, made_of)):
            for more, value in labelled:
                key = (index, more)
                blocks[key] = old_blocks.get(key) or block(
                    self._labels | dict(zip(names, (*self.identities[index], *more), strict=True))
                )
                values.append(value if value is None else float(value))
        written = numbers.texts(values, numbers.encode(values))
        return _Lines(made_of, _piece(column.family, list(blocks.values()), written), blocks)


class Rendered:
    """A snapshot, rendered.

    Attributes:
        labels: The labels of all of its series.
        pieces: Its lines by family name.
        samples: How many there are.
    """

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels
        self.pieces: dict[str, list[Piece]] = {}
        self.samples = 0
        self._shards: dict[PlanKey, list[_Shard]] = {}

    def identities(self, key: PlanKey) -> Iterable[Identity]:
        """Yield who has series of a plan."""
        return chain.from_iterable(shard.identities for shard in self._shards.get(key, ()))

    def shard(self, key: PlanKey, number: int) -> _Shard | None:
        """Return one of the shards of a plan."""
        shards = self._shards.get(key, [])
        return shards[number] if number < len(shards) else None

    def add(self, key: PlanKey, shard: _Shard) -> None:
        """Take in the next shard of a plan."""
        self._shards.setdefault(key, []).append(shard)
        for name, lines in shard.lines.items():
            if lines.piece.samples:
                self.pieces.setdefault(name, []).append(lines.piece)
                self.samples += lines.piece.samples


def render(
    snapshot: Snapshot, before: Rendered | None, others: Collection[Rendered]
) -> Generator[None, None, Rendered]:
    """Render a snapshot, yielding after each shard.

    A target that a vendor lists twice, or that another task of the source has listed already, is
    rendered once: the first stands, since a series that occurs twice would spoil the whole page.

    Args:
        snapshot: What to render.
        before: Its predecessor, to take over what did not change.
        others: The source's other tasks.
    """
    labels = {**snapshot.labels, "provider": snapshot.provider, "source": snapshot.source}
    if before is not None and before.labels != labels:
        before = None
    rendered = Rendered(labels)
    by_type: dict[type[Reading], list[Reading]] = {}
    for reading in snapshot.readings:
        by_type.setdefault(type(reading), []).append(reading)
    for kind, readings in by_type.items():
        for index, plan in enumerate(PLANS[kind]):
            key = (kind, index)
            seen = set(chain.from_iterable(other.identities(key) for other in others))
            targets = chain.from_iterable(map(plan.targets, readings))
            number = 0
            while chunk := list(islice(targets, SHARD_TARGETS)):
                unique = _unseen(plan, chunk, seen)
                old = before.shard(key, number) if before is not None else None
                rendered.add(key, _Shard(plan, unique, labels, old))
                number += 1
                yield
    return rendered


def _unseen(plan: Plan, targets: list[Any], seen: set[Identity]) -> dict[Identity, Any]:
    unique = dict(zip(map(plan.identity, targets), targets, strict=True))
    if len(unique) < len(targets) or not seen.isdisjoint(unique):
        unique = {}
        for identity, target in zip(map(plan.identity, targets), targets, strict=True):
            if identity not in seen:
                unique.setdefault(identity, target)
    seen.update(unique)
    return unique


def _piece(family: Family, blocks: Sequence[str], written: Sequence[str | None]) -> Piece:
    """Put lines together from labels and numbers; those without a number are left out."""
    if None in written:
        blocks = [block for block, text in zip(blocks, written, strict=True) if text is not None]
        written = [text for text in written if text is not None]
    if not blocks:
        return Piece(b"", 0)
    # One join of all parts: a string per line would be copied once more.
    parts: list[Any] = [f"\n{family.name}"] * (3 * len(blocks))
    parts[0] = family.name
    parts[1::3] = blocks
    parts[2::3] = written
    parts.append("\n")
    return Piece("".join(parts).encode(), len(blocks))
