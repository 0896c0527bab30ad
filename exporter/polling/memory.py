"""The saved data of tasks, for a restart or a standby: one document of the state per task.

A document holds the newest snapshot of a task and the outcome of its polls. Its key is a hash of
the source's filters, tasks, labels and shard, so a source with other settings does not read it.
The document holds no secrets, because readings hold none.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import zlib
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from exporter.clock import Moment, check_unix
from exporter.cooperative import TURN, collected, in_turns
from exporter.errors import StateError
from exporter.fleet.changes import Since
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Reading
from exporter.fleet.store import Snapshot
from exporter.polling.doubt import Doubt
from exporter.polling.expected import Listed
from exporter.polling.poller import Kept, TaskStatus


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from structlog.typing import FilteringBoundLogger

    from exporter.clock import Clock
    from exporter.fleet.changes import SinceByTarget
    from exporter.sharding import Shard
    from exporter.sources.settings import SourceSettings
    from exporter.state.base import Document, Fence, State


S = TypeVar("S")

#: The version of the documents; an incompatible change of the format increments it.
SCHEMA = 1

#: Limit of a decompressed document, more than the exporter ever writes.
_MAX_BYTES = 256 << 20

#: Smaller documents are compressed in the event loop, which is faster than starting a thread.
_WORTH_A_THREAD = 64 << 10


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    schema: int


class _Saved(_Header, frozen=True, kw_only=True):
    """The content of a task's document.

    Attributes:
        written: When the document was written, by both clocks of the writer.
        chunks: The readings in order; each chunk has the name of its readings' type.
        since: The times since when targets are up or down, in chunks.
    """

    written: Moment
    taken: Moment
    stale_after: float
    status: TaskStatus
    memory: bytes
    chunks: tuple[tuple[str, msgspec.Raw], ...]
    since: tuple[msgspec.Raw, ...]
    doubt: Doubt | None = None
    listed: tuple[Listed, ...] = ()


def _types(base: type[Reading]) -> Iterator[type[Reading]]:
    for each in base.__subclasses__():
        yield each
        yield from _types(each)


def _decoder(kind: Any) -> msgspec.msgpack.Decoder[list[Reading]]:
    return msgspec.msgpack.Decoder(list[kind])


_DECODERS = {each.__name__: _decoder(each) for each in _types(Reading)}
_SINCE_DECODER = msgspec.msgpack.Decoder(list[tuple[Kind, str, bool, float]])
_ENCODER = msgspec.msgpack.Encoder()


class Memory:
    """The documents of all sources of one engine."""

    def __init__(self, state: State, *, namespace: str, shard: Shard, clock: Clock) -> None:
        """Create the access to the documents.

        Args:
            state: The state that holds the documents.
            namespace: The name of the installation; installations with other names share nothing.
            shard: This process's share of the targets.
            clock: The clock for the times of restored readings.
        """
        self._state = state
        self._namespace = namespace
        self._shard = shard
        self._clock = clock
        self._failing = False
        self._ignored: set[str] = set()
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.memory")

    async def recall(self, settings: SourceSettings) -> dict[str, Kept]:
        """Return the saved data of a source by task, of any age; never raises."""
        prefix = self._prefix(settings)
        try:
            documents = await self._state.documents(prefix)
        except StateError as error:
            self._log.warning("memory_not_read", source=settings.name, message=str(error))
            return {}
        found = {
            task: await self._read(documents[prefix + task], settings, task)
            for task in settings.intervals()
            if prefix + task in documents
        }
        return {task: kept for task, kept in found.items() if kept is not None}

    async def newest(self, settings: SourceSettings, task: str) -> Kept | None:
        """Return the saved data of a task, `None` if there is no readable document.

        Raises:
            StateError: The state cannot be used.
        """
        document = await self._state.get(self._prefix(settings) + task)
        return None if document is None else await self._read(document, settings, task)

    async def keep(
        self, settings: SourceSettings, kept: Kept, *, fence: Fence | None = None
    ) -> bool:
        """Save the data of a task; raises nothing, and logs the first of several failures in a row.

        Returns:
            Whether the document was written.
        """
        key = self._prefix(settings) + kept.snapshot.task
        try:
            written = await self._state.put(key, await self._encoded(kept), fence=fence)
        except Exception as error:  # noqa: BLE001 - a failure to save must not fail a poll
            if not self._failing:
                message = str(error) if isinstance(error, StateError) else type(error).__name__
                self._log.warning("memory_not_written", message=message)
            self._failing = True
            return False
        self._failing = False
        return written

    def identity(self, settings: SourceSettings) -> str:
        """Return a hash of the settings that processes must have in common to share data."""
        patterns = [
            {kind: pattern.pattern for kind, pattern in each.items()}
            for each in (settings.include, settings.exclude)
        ]
        described = [
            self._namespace,
            [self._shard.index, self._shard.total],
            [settings.provider, settings.url, settings.name],
            patterns,
            settings.tasks,
            settings.labels,
        ]
        canonical = json.dumps(described, sort_keys=True).encode()
        return hashlib.blake2b(canonical, digest_size=16).hexdigest()

    def _prefix(self, settings: SourceSettings) -> str:
        """Return the prefix of a source's keys."""
        return f"snapshot/{self.identity(settings)}/"

    async def _read(self, document: Document, settings: SourceSettings, task: str) -> Kept | None:
        try:
            return await self._decoded(document, settings, task)
        except (ValueError, RecursionError, zlib.error):
            # Log it once: during a rolling upgrade a standby reads many such documents. Leave out
            # the error's text, which could quote a value.
            if (name := f"{settings.name}/{task}") not in self._ignored:
                self._ignored.add(name)
                message = "the saved data is damaged or of another version, and ignored"
                self._log.warning(
                    "memory_ignored",
                    provider=settings.provider,
                    source=settings.name,
                    task=task,
                    message=message,
                )
            return None

    async def _encoded(self, kept: Kept) -> bytes:
        snapshot = kept.snapshot
        content = _ENCODER.encode(
            _Saved(
                schema=SCHEMA,
                written=self._clock.now(),
                taken=snapshot.taken,
                stale_after=snapshot.stale_after,
                status=kept.status,
                memory=snapshot.memory,
                chunks=tuple(await collected(_chunks(snapshot.readings), turn=1)),
                doubt=kept.doubt,
                listed=kept.listed,
                since=tuple(await collected(_since_chunks(kept.since), turn=1)),
            )
        )
        if len(content) < _WORTH_A_THREAD:
            return zlib.compress(content, 1)
        return await asyncio.to_thread(zlib.compress, content, 1)

    async def _decoded(self, document: Document, settings: SourceSettings, task: str) -> Kept:
        """Read a document and convert its times to this process's clocks.

        Raises:
            ValueError: The document is damaged or of another version.
            RecursionError: The document is damaged: its nesting is too deep.
            zlib.error: The document is damaged: it cannot be decompressed.
        """
        content = zlib.decompressobj().decompress(document.value, _MAX_BYTES)
        if msgspec.msgpack.decode(content, type=_Header).schema != SCHEMA:
            raise ValueError("it is of another version")
        saved = msgspec.msgpack.decode(content, type=_Saved)
        if math.isnan(saved.stale_after):
            raise ValueError("a limit is no number")
        written = rebased(saved.written, 0.0)
        now = self._clock.now()
        ahead = now.monotonic - document.age_seconds - written.monotonic
        readings: list[Reading] = []
        async for name, chunk in in_turns(saved.chunks, turn=1):
            if name not in _DECODERS:
                raise ValueError("it has readings of a type that is not known")
            readings += (rebased(reading, ahead) for reading in _DECODERS[name].decode(chunk))
        since: dict[tuple[Kind, str], Since] = {}
        async for chunk in in_turns(saved.since, turn=1):
            for kind, target_id, up, at in _SINCE_DECODER.decode(chunk):
                check_unix(at)
                # If the wall clock was set back, `at` could lie in the future.
                since[kind, target_id] = Since(up=up, timestamp_seconds=min(at, now.unix))
        snapshot = Snapshot(
            provider=settings.provider,
            source=settings.name,
            task=task,
            readings=tuple(readings),
            taken=rebased(saved.taken, ahead),
            stale_after=saved.stale_after,
            labels=settings.labels,
            memory=saved.memory,
            restored=True,
        )
        status = msgspec.structs.replace(rebased(saved.status, ahead), restored=True)
        doubt = None if saved.doubt is None else rebased(saved.doubt, ahead)
        return Kept(
            snapshot=snapshot,
            status=status,
            since=since,
            doubt=doubt,
            listed=rebased(saved.listed, ahead),
        )


def _chunks(readings: Sequence[Reading]) -> Iterator[tuple[str, msgspec.Raw]]:
    """Encode readings in chunks of at most `TURN`, each with readings of one type."""
    for start in range(0, len(readings), TURN):
        for kind, chunk in groupby(readings[start : start + TURN], key=type):
            yield kind.__name__, msgspec.Raw(_ENCODER.encode(list(chunk)))


def _since_chunks(since: SinceByTarget) -> Iterator[msgspec.Raw]:
    items = iter(since.items())
    while chunk := list(islice(items, TURN)):
        rows = [(kind, target_id, at.up, at.timestamp_seconds) for (kind, target_id), at in chunk]
        yield msgspec.Raw(_ENCODER.encode(rows))


def rebased(value: S, ahead: float) -> S:
    """Return a value with all its moments moved ahead on the monotonic clock by some seconds.

    Raises:
        ValueError: A moment in the value is invalid.
    """
    found: Any = value
    match value:
        case Moment():
            found = value.rebased(ahead)
        case tuple():
            found = tuple([rebased(each, ahead) for each in value])
        case msgspec.Struct():
            moved = {}
            for field in value.__struct_fields__:
                held = getattr(value, field)
                if isinstance(held, msgspec.Struct | tuple) and held:
                    moved[field] = rebased(held, ahead)
            found = msgspec.structs.replace(value, **moved) if moved else value
        case _:
            pass
    return found  # type: ignore[no-any-return]
