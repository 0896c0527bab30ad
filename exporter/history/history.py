"""The history of a running daemon: recorded on the event loop, written in a thread."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec
import structlog

from exporter.errors import StateError
from exporter.fleet.store import Cause
from exporter.fleet.usual import Usuals
from exporter.history.baselines import Baselines
from exporter.history.database import Database, Role
from exporter.history.recorder import Recorder
from exporter.history.records import HOUR, Records, TargetKey
from exporter.history.summary import TargetHistory, hours_of, summarized
from exporter.history.upkeep import FILE, SETTING
from exporter.state.opening import place_in


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.clock import Clock
    from exporter.fleet.store import SnapshotChange, Store
    from exporter.history.records import Batch
    from exporter.history.settings import HistorySettings
    from exporter.sharding import Shard
    from exporter.state.place import Place
    from exporter.state.settings import StateSettings


T = TypeVar("T")

#: Seconds between batches; a process that is killed loses at most the records of this time.
BATCH_SECONDS = 60.0

#: Seconds until the first batch. It is early, since vendors list earlier runs, from which baselines
#: can be computed.
FIRST_BATCH_SECONDS = 10.0

#: Seconds for which a page, or the end of the process, waits for the disk.
LIMIT_SECONDS = 5.0

#: The longest span that is shown.
_LONGEST = "30d"


def open_history(  # noqa: PLR0913 - all but the first by keyword
    settings: HistorySettings,
    *,
    state: StateSettings,
    shard: Shard,
    clock: Clock,
    lasting: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> History | None:
    """Return the configured history, `None` if it is off; its file is opened later.

    Args:
        settings: The settings of the history.
        state: The settings of the state, whose folder is the default.
        shard: The share of the targets of this process; each shard has a file of its own.
        clock: The clock of the process.
        lasting: Whether the history may be written to disk.
        environ: The environment, which can set the default folder of the state.
    """
    if settings.keep is None:
        return None
    place = None
    if lasting:
        name = FILE if shard.total == 1 else f"history-{shard.index}.db"
        place = place_in(settings.path or state.path, environ, name=name, setting=SETTING)
        if place is None:
            structlog.get_logger("exporter.history").info(
                "history_in_memory", message=f"there is no folder for it; name one in {SETTING}"
            )
    return History(place, keep_seconds=settings.keep, max_bytes=settings.max_bytes, clock=clock)


class History:
    """The history of all targets. Its failures are logged and do not stop the daemon."""

    def __init__(
        self, place: Place | None, *, keep_seconds: float, max_bytes: int, clock: Clock
    ) -> None:
        """Prepare the history; the file is not touched yet.

        Args:
            place: The file; if `None`, the history is kept in memory.
            keep_seconds: The age beyond which records are deleted.
            max_bytes: The largest size of the file.
            clock: The clock of the process.
        """
        self._clock = clock
        self._recorder = Recorder(keep_seconds=keep_seconds, since=clock.monotonic())
        self._database = Database(
            place,
            keep_seconds=keep_seconds,
            max_bytes=max_bytes,
            time=clock.time,
            known=self._recorder.known,
        )
        self._baselines = Baselines(time=clock.time)
        #: The hour in which all baselines were last computed.
        self._compared: int | None = None
        #: The suites of which runs were written since baselines were last computed.
        self._ran: set[TargetKey] = set()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        self._fed = asyncio.Event()
        self._working = asyncio.Lock()
        self._log = structlog.get_logger("exporter.history")

    @property
    def role(self) -> Role | None:
        """The role of this process, `None` before the file was opened."""
        return self._database.role

    def follow(self, store: Store) -> None:
        """Subscribe to the store and record each new snapshot.

        Restored snapshots are skipped: the process that took them has recorded them.
        """

        def note(change: SnapshotChange) -> None:
            snapshot = store.get(*change.key)
            if change.cause is not Cause.PUT or snapshot is None or snapshot.restored:
                return
            if self.role is not Role.READER:
                self._recorder.take(snapshot)
                self._fed.set()

        store.subscribe(note)

    async def run(self) -> None:
        """Open the file, then record and write until cancelled."""
        try:
            await self.begin()
        except Exception:  # noqa: BLE001 - the daemon must survive a bug, which is logged
            self._log.exception("history_crashed")
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._record())
            group.create_task(self._write())

    async def begin(self) -> None:
        """Open the file, or keep the history in memory if that fails."""
        since = self._clock.monotonic()
        known = await self._in_worker(self._database.open)
        self._recorder.load(known, since=since)
        if self.role is Role.READER:
            self._recorder.forget()

    async def catch_up(self) -> None:
        """Record the snapshots taken since the last time."""
        async with self._working:
            await self._recorder.catch_up()

    async def flush(self) -> None:
        """Write the recorded batch; if another process was the writer, try to take over first."""
        async with self._working:
            since = self._clock.monotonic()
            known = await self._in_worker(self._database.again)
            if known is not None:
                self._recorder.load(known, since=since)
                self._compared = None
        batch = self._recorder.drain()
        if batch and self.role is not Role.READER:
            await self._in_worker(partial(self._database.write, batch))
            self._ran.update(target for target, _, _ in batch.runs)

    def usual(self, source: str) -> Usuals | None:
        """Return the baselines of a source's targets.

        Return `None` until they have been computed. While a configured file cannot be used, none
        are computed.
        """
        newest = self._baselines.newest
        return None if newest is None else newest.get(source, Usuals())

    async def compare(self) -> None:
        """Compute the baselines: all of them once an hour, and those of suites with new runs."""
        hour = int(self._clock.time()) // HOUR
        ran, self._ran = self._ran, set()
        if self._database.stands_in:
            return
        if hour == self._compared:
            if ran:
                await self._using(partial(self._baselines.renew, suites=ran))
            return
        after: int | None = 0
        while after is not None:
            after = await self._using(partial(self._baselines.learn, after=after))
        # Set last, so that a failure is retried after the next batch.
        self._compared = hour

    async def aclose(self) -> None:
        """Write the last batch and close the file, unless the disk does not answer."""
        answered = False
        with suppress(StateError, TimeoutError):
            async with asyncio.timeout(LIMIT_SECONDS):
                if self.role is not None:
                    await self.catch_up()
                    await self._flush()
                answered = True
        # Submitted directly: a job that is awaited would leave the queue if the wait timed out.
        self._worker.submit(self._database.close)
        if answered:
            with suppress(TimeoutError):
                async with asyncio.timeout(LIMIT_SECONDS):
                    await self._in_worker(lambda: None)
        self._worker.shutdown(wait=False)

    async def of(self, source: str, kind: str, target_id: str, now: float) -> TargetHistory | None:
        """Return the history of a target, `None` if none is known.

        Args:
            source: The source's name.
            kind: The target's kind.
            target_id: Its id.
            now: The end of the spans, a Unix time.

        Raises:
            StateError: The history cannot be read now.
        """
        target = TargetKey(source, kind, target_id)
        # A batch on its way to the file needs no merging: the worker writes it before it reads.
        pending = self._recorder.pending(target)
        job = partial(self._read, target, pending, now)
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                return await self._in_worker(job)
        except TimeoutError:
            raise StateError("the history's disk does not answer; check the disk") from None

    async def _using(self, job: Callable[[sqlite3.Connection], T]) -> T | None:
        return await self._in_worker(partial(self._database.using, job))

    def _read(self, target: TargetKey, pending: Batch, now: float) -> TargetHistory | None:
        database = self._database
        records = database.read(target, hours=hours_of(_LONGEST, now))
        if records is None and not pending:
            return None
        found = summarized(pending.added_to(records or Records()), now)
        begun = database.begun if database.role is Role.MEMORY else None
        return msgspec.structs.replace(found, in_memory_since_timestamp_seconds=begun)

    async def _record(self) -> None:
        while True:
            await self._fed.wait()
            self._fed.clear()
            try:
                await self.catch_up()
            except Exception:  # noqa: BLE001 - the loop must survive a bug, which is logged
                self._log.exception("history_crashed")

    async def _write(self) -> None:
        seconds = FIRST_BATCH_SECONDS
        while True:
            await self._clock.sleep(seconds)
            await self._flush()
            # After the first batch, since a new file holds no runs to compute baselines from.
            await self._compare()
            seconds = BATCH_SECONDS

    async def _compare(self) -> None:
        try:
            await self.compare()
        except StateError as error:
            self._log.warning("baselines_not_computed", message=str(error))
        except Exception:  # noqa: BLE001 - the loop must survive a bug, which is logged
            self._log.exception("history_crashed")

    async def _flush(self) -> None:
        try:
            await self.flush()
        except sqlite3.Error as error:
            self._log.warning("history_lost", message=f"a batch could not be kept: {error}")
        except Exception:  # noqa: BLE001 - the loop must survive a bug, which is logged
            self._log.exception("history_crashed")

    async def _in_worker(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, job)
