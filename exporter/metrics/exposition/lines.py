"""Rendering of the samples of one snapshot, column by column.

Targets are rendered in chunks. A chunk keeps the rendered labels of its targets and, per family,
the lines and the values they were made of. So unchanged lines are neither rendered nor compressed
again. Rendering pauses between two chunks, so that it never blocks the event loop for long.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from exporter.fleet.readings import Reading
from exporter.metrics.columns import one
from exporter.metrics.exposition.body import Lines
from exporter.metrics.exposition.notation import encode_numbers, label_block, number_texts
from exporter.metrics.mapping import MAPPINGS


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence

    from exporter.fleet.store import Snapshot
    from exporter.metrics.catalogue import Family
    from exporter.metrics.columns import Column, Labelled, TargetMapping


#: Targets per chunk: a few thousand samples, about a millisecond of rendering.
CHUNK_TARGETS = 256

_BOOLEANS = {True: "1.0", False: "0.0"}

Identity = tuple[str, ...]
MappingKey = tuple[type[Reading], int]


class _Chunk:
    """Some targets of a snapshot, rendered.

    Attributes:
        identities: The values of the targets' labels.
        blocks: The rendered labels.
        lines: The lines by family name.
    """

    __slots__ = ("_labels", "blocks", "identities", "lines")

    blocks: list[str]

    def __init__(
        self,
        mapping: TargetMapping,
        targets: Mapping[Identity, Any],
        labels: dict[str, str],
        old: _Chunk | None,
    ) -> None:
        self._labels = labels
        self.identities = list(targets)
        if old is not None and old.identities == self.identities:
            self.identities, self.blocks = old.identities, old.blocks
        else:
            old = None
            self.blocks = [
                label_block(labels | dict(zip(mapping.labels, identity, strict=True)))
                for identity in self.identities
            ]
        self.lines: dict[str, Lines] = {}
        for part, columns in mapping.parts:
            rows = [part(target) for target in targets.values()]
            for column in columns:
                name = column.family.name
                known = old.lines[name] if old is not None else None
                self.lines[name] = self._render(column, list(map(column.read, rows)), known)

    def _render(self, column: Column, values: list[Any], known: Lines | None) -> Lines:
        name = column.family.name
        if column.spread is None and not column.is_boolean:
            encoded = encode_numbers(values)
            # Absent and infinite numbers are encoded alike.
            made_of = values if b"null" in encoded else encoded
            if known is not None and known.made_of == made_of:
                return known
            return _lines(name, self.blocks, number_texts(values, encoded), made_of)
        if known is not None and known.made_of == values:
            return known
        if column.spread is None:
            return _lines(name, self.blocks, list(map(_BOOLEANS.get, values)), values)
        return self._render_spread(column, column.spread, values, known)

    def _render_spread(
        self,
        column: Column,
        spread: Callable[[Any], Iterable[Labelled]],
        made_of: list[Any],
        known: Lines | None,
    ) -> Lines:
        names = column.family.labels
        old_blocks = known.blocks if known is not None else {}
        blocks: dict[tuple[int, Identity], str] = {}
        values: list[float | None] = []
        for index, labelled in enumerate(map(spread, made_of)):
            for more, value in labelled:
                key = (index, more)
                blocks[key] = old_blocks.get(key) or label_block(
                    self._labels | dict(zip(names, (*self.identities[index], *more), strict=True))
                )
                values.append(value if value is None else float(value))
        texts = number_texts(values, encode_numbers(values))
        lines = _lines(column.family.name, list(blocks.values()), texts, made_of)
        if spread is not one:
            # Not for info families: these seldom change, and a change needs new labels.
            lines.blocks = blocks
        return lines


class Rendered:
    """A rendered snapshot.

    Attributes:
        labels: The labels that all its series have.
        lines: The lines by family name, one item per chunk.
        samples: The number of samples.
    """

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels
        self.lines: dict[str, list[Lines]] = {}
        self.samples = 0
        self._chunks: dict[MappingKey, list[_Chunk]] = {}

    def identities(self, key: MappingKey) -> Iterable[Identity]:
        """Return the identities of all targets with series of a mapping."""
        return chain.from_iterable(chunk.identities for chunk in self._chunks.get(key, ()))

    def chunks(self, key: MappingKey) -> Sequence[_Chunk]:
        """Return the chunks of a mapping."""
        return self._chunks.get(key, ())

    def add(self, key: MappingKey, chunk: _Chunk) -> None:
        """Add the next chunk of a mapping."""
        self._chunks.setdefault(key, []).append(chunk)
        for name, lines in chunk.lines.items():
            if lines.samples:
                self.lines.setdefault(name, []).append(lines)
                self.samples += lines.samples

    def repeat(self, families: Iterable[Family]) -> None:
        """Add lines under the former names of families."""
        for family in families:
            for former, _ in family.former_names:
                for lines in self.lines.get(family.name, ()):
                    renamed = lines.renamed(family.name, former)
                    self.lines.setdefault(former, []).append(renamed)
                    self.samples += lines.samples


def render(
    snapshot: Snapshot,
    before: Rendered | None,
    others: Collection[Rendered],
    *,
    packed: bool = False,
) -> Generator[None, None, Rendered]:
    """Return a generator that renders a snapshot, yields after each chunk and returns the result.

    If a vendor lists a target twice, or another task of the source has already listed it, only the
    first one is rendered, since a duplicate series would make the whole page invalid. Unchanged
    lines are reused from the previous snapshot.

    Args:
        snapshot: The snapshot to render.
        before: The previous snapshot of the task, rendered.
        others: The rendered snapshots of the source's other tasks.
        packed: Whether to keep only the compressed form of lines.
    """
    labels = {**snapshot.labels, "provider": snapshot.provider, "source": snapshot.source}
    if before is not None and before.labels != labels:
        before = None
    rendered = Rendered(labels)
    by_type: dict[type[Reading], list[Reading]] = {}
    for reading in snapshot.readings:
        by_type.setdefault(type(reading), []).append(reading)
    for kind, readings in by_type.items():
        for index, mapping in enumerate(MAPPINGS[kind]):
            key = (kind, index)
            seen = set(chain.from_iterable(other.identities(key) for other in others))
            targets = chain.from_iterable(map(mapping.targets, readings))
            old = iter(before.chunks(key) if before is not None else ())
            while some := list(islice(targets, CHUNK_TARGETS)):
                unique = _unseen(mapping, some, seen)
                chunk = _Chunk(mapping, unique, labels, next(old, None))
                if packed:
                    for lines in chunk.lines.values():
                        lines.keep_packed()
                rendered.add(key, chunk)
                yield
    return rendered


def _unseen(mapping: TargetMapping, targets: list[Any], seen: set[Identity]) -> dict[Identity, Any]:
    unique: dict[Identity, Any] = dict(zip(map(mapping.identity, targets), targets, strict=True))
    if len(unique) < len(targets) or not seen.isdisjoint(unique):
        unique = {}
        for identity, target in zip(map(mapping.identity, targets), targets, strict=True):
            if identity not in seen:
                unique.setdefault(identity, target)
    seen.update(unique)
    return unique


def _lines(
    name: str, blocks: Sequence[str], numbers: Sequence[str | None], made_of: object
) -> Lines:
    """Return lines made of labels and numbers, without those that have no number."""
    if None in numbers:
        blocks = [block for block, text in zip(blocks, numbers, strict=True) if text is not None]
        numbers = [text for text in numbers if text is not None]
    if not blocks:
        return Lines(b"", made_of=made_of)
    # One join of all parts, because a string per line would be copied once more.
    parts: list[Any] = [f"\n{name}"] * (3 * len(blocks))
    parts[0] = name
    parts[1::3] = blocks
    parts[2::3] = numbers
    parts.append("\n")
    return Lines("".join(parts).encode(), samples=len(blocks), made_of=made_of)
