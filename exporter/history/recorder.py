"""The recorder: extracts records from snapshots, yielding to other tasks of the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.cooperative import TURN, in_turns
from exporter.fleet.kinds import LISTED
from exporter.fleet.readings import Reading, Suite
from exporter.fleet.recent import Dated, Judged, judged
from exporter.history.records import (
    HOUR,
    Batch,
    Condition,
    Known,
    SuiteResult,
    Tally,
    TargetKey,
    Transition,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.fleet.store import Snapshot, TaskKey


_KINDS = {kind.reading: kind for kind in LISTED}


# Shared by all targets, since Python makes a new object for each empty frozenset.
_NO_RUNS: frozenset[SuiteResult] = frozenset()


class _Memory(Dated):
    """A target's state between two readings."""

    __slots__ = ("key", "newest", "runs", "task")

    def __init__(self, key: TargetKey, task: str, newest: Transition | None = None) -> None:
        super().__init__()
        self.key = key
        self.task = task
        self.newest = newest
        self.runs = _NO_RUNS


class Recorder:
    """The records since the last batch, and each target's last condition to detect transitions."""

    def __init__(self, *, keep_seconds: float, since: float) -> None:
        """Begin without any records.

        Args:
            keep_seconds: The age beyond which runs of suites are skipped.
            since: The point of the monotonic clock before which readings are skipped: they were
                restored, and the process that took them has counted them.
        """
        self._keep_seconds = keep_seconds
        self._since = since
        self._targets: dict[TargetKey, _Memory] = {}
        self._present: dict[tuple[str, str], set[TargetKey]] = {}
        self._due: dict[TaskKey, Snapshot] = {}
        self._batch = Batch()

    def load(self, known: Iterable[Known], *, since: float) -> None:
        """Continue from the transitions that this or another process has written.

        Args:
            known: The newest transition of each target.
            since: The point of the monotonic clock before which readings are skipped.
        """
        self._since = since
        self._targets.clear()
        self._present.clear()
        for each in known:
            self._targets[each.key] = _Memory(each.key, each.task, each.transition)
            self._present.setdefault((each.key.source, each.task), set()).add(each.key)

    def take(self, snapshot: Snapshot) -> None:
        """Queue a snapshot for the next `catch_up`."""
        self._due[snapshot.key] = snapshot

    def forget(self) -> None:
        """Drop the queued snapshots."""
        self._due.clear()

    async def catch_up(self) -> None:
        """Record the queued snapshots in their order, each reading once; yield regularly."""
        while self._due:
            key = next(iter(self._due))
            snapshot = self._due.pop(key)
            task = (snapshot.source, snapshot.task)
            present: set[TargetKey] = set()
            for start in range(0, len(snapshot.readings), TURN):
                self._count(snapshot.readings[start : start + TURN], snapshot, present)
                await asyncio.sleep(0)
            gone = self._present.get(task, set()) - present
            self._present[task] = present
            async for target in in_turns(sorted(gone)):
                self._leave(target, snapshot)

    def known(self) -> list[Known]:
        """Return the newest transition of each target that is not gone."""
        return [
            Known(key=target, task=memory.task, transition=memory.newest)
            for target, memory in list(self._targets.items())
            if memory.newest is not None
        ]

    def drain(self) -> Batch:
        """Return the records since the last call, and begin a new batch."""
        batch, self._batch = self._batch, Batch()
        return batch

    def pending(self, target: TargetKey) -> Batch:
        """Return the part of the next batch that is about one target."""
        found = Batch()
        found.transitions = [each for each in self._batch.transitions if each[0] == target]
        found.tallies = {key: each for key, each in self._batch.tallies.items() if key[1] == target}
        found.runs = [each for each in self._batch.runs if each[0] == target]
        return found

    def _count(
        self, readings: Iterable[Reading], snapshot: Snapshot, present: set[TargetKey]
    ) -> None:
        for reading in readings:
            kind = _KINDS.get(type(reading))
            if kind is None:
                continue
            target = TargetKey(snapshot.source, kind, kind.id_of(reading))
            memory = self._targets.get(target)
            if memory is None:
                memory = self._targets[target] = _Memory(target, snapshot.task)
            # Use the same object everywhere: copies for 100,000 targets would take much memory.
            target = memory.key
            present.add(target)
            self._add(target, memory, reading, snapshot)
            if isinstance(reading, Suite):
                self._add_runs(target, memory, reading, snapshot)

    def _add(
        self, target: TargetKey, memory: _Memory, reading: Reading, snapshot: Snapshot
    ) -> None:
        outcome = judged(reading, snapshot.taken)
        if getattr(reading, "active", None) is False:
            # An inactive target is not asked, so the snapshot itself is the evidence.
            outcome = Judged(snapshot.taken, None)
            condition = Condition.INACTIVE
        elif outcome is None or outcome.up is None:
            return
        else:
            condition = Condition.UP if outcome.up else Condition.DOWN
        at = outcome.at
        if at.monotonic <= self._since or not memory.is_new(at):
            return
        slot = (int(at.unix) // HOUR, target)
        tally = self._batch.tallies.get(slot)
        if tally is None:
            tally = self._batch.tallies[slot] = Tally()
            self._batch.tasks[target] = snapshot.task
        tally.add(condition, outcome.duration_seconds)
        newest = memory.newest
        # After the wall clock was set back, the transition is recorded again with the new time.
        ahead = newest is not None and at.unix < newest.timestamp_seconds
        outdated = getattr(getattr(reading, "state", None), "outdated", None)
        if outdated is None:
            outdated = newest is not None and newest.outdated
        if newest is None or ahead or (condition, outdated) != (newest.condition, newest.outdated):
            transition = Transition(
                timestamp_seconds=at.unix,
                condition=condition,
                outdated=outdated,
                reason=(outcome.reason or "") if condition is Condition.DOWN else "",
            )
            self._change(target, memory, transition, snapshot.task)

    def _leave(self, target: TargetKey, snapshot: Snapshot) -> None:
        """Record that a target is gone, and forget it, as agents may come and go under new ids."""
        memory = self._targets.pop(target, None)
        if memory and memory.newest:
            transition = Transition(timestamp_seconds=snapshot.taken.unix, condition=Condition.GONE)
            self._change(target, memory, transition, snapshot.task)

    def _change(
        self, target: TargetKey, memory: _Memory, transition: Transition, task: str
    ) -> None:
        memory.newest, memory.task = transition, task
        self._batch.tasks[target] = task
        self._batch.transitions.append((target, transition))

    def _add_runs(
        self, target: TargetKey, memory: _Memory, suite: Suite, snapshot: Snapshot
    ) -> None:
        results = tuple(_results(suite))
        found = frozenset(results)
        if found == memory.runs:
            return
        for each in results:
            at = each.end_timestamp_seconds or each.start_timestamp_seconds or snapshot.taken.unix
            recent = at >= snapshot.taken.unix - self._keep_seconds
            if recent and each not in memory.runs:
                self._batch.tasks[target] = snapshot.task
                self._batch.runs.append((target, at, each))
        memory.runs = found


def _results(suite: Suite) -> Iterator[SuiteResult]:
    found = {run.run_id: run for run in suite.history}
    if suite.last_run is not None:
        found.setdefault(suite.last_run.run_id, suite.last_run)
    for run in found.values():
        if run.outcome is not None:
            yield SuiteResult(
                run_id=run.run_id,
                outcome=run.outcome,
                start_timestamp_seconds=run.start_timestamp_seconds,
                end_timestamp_seconds=run.end_timestamp_seconds,
                duration_seconds=run.duration_seconds,
                error_ratio=run.error_ratio,
                boot_seconds=run.boot_seconds,
            )
