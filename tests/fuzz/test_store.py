"""The store against a plain model: any order of puts, removals, expiries and passing time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from exporter.fleet.readings import Agent, AgentState
from exporter.fleet.store import Cause, Snapshot, SnapshotChange, Store
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from exporter.clock import Moment
    from exporter.fleet.store import TaskKey


SOURCES = st.sampled_from([("realload", "prod"), ("realload", "lab"), ("eggplant", "prod")])
TASKS = st.sampled_from(["agents", "suites", "source"])
#: Whole numbers, so that the model's sums are exact.
SECONDS = st.integers(0, 400)

Model = dict["TaskKey", tuple[float, float, list["float | None"]]]


class StoreMachine(RuleBasedStateMachine):
    """A store and what it should hold.

    Attributes:
        model: For each key, the snapshot's time and limit, and the times of the agents' states.
    """

    def __init__(self) -> None:
        super().__init__()
        self.time = FakeClock()
        self.store = Store(self.time.clock)
        self.model: Model = {}
        self.heard: list[SnapshotChange] = []
        self.store.subscribe(self.heard.append)

    @rule(
        source=SOURCES,
        task=TASKS,
        stale_after=st.sampled_from([1.0, 60.0, 180.0, math.inf]),
        ages=st.lists(st.none() | SECONDS, max_size=3),
    )
    def put(
        self,
        source: tuple[str, str],
        task: str,
        stale_after: float,
        ages: list[float | None],
    ) -> None:
        """Put a snapshot that carries over states of any age."""
        now = self.time.clock.now()
        read_at = [None if age is None else now.monotonic - age for age in ages]
        self.store.put(
            Snapshot(
                provider=source[0],
                source=source[1],
                task=task,
                readings=tuple(
                    Agent(agent_id=str(number), agent="", state=self._state(at))
                    for number, at in enumerate(read_at)
                ),
                taken=now,
                stale_after=stale_after,
            )
        )
        self.model[*source, task] = (now.monotonic, stale_after, read_at)
        assert {(*source, task): Cause.PUT} == self._heard()

    @rule(source=SOURCES, task=TASKS)
    def remove(self, source: tuple[str, str], task: str) -> None:
        """Remove a task, known or not."""
        known = self.model.pop((*source, task), None)
        self.store.remove(*source, task)
        assert ({} if known is None else {(*source, task): Cause.REMOVED}) == self._heard()

    @rule(source=SOURCES)
    def remove_source(self, source: tuple[str, str]) -> None:
        """Remove a source, known or not."""
        gone = {key for key in self.model if key[:2] == source}
        for key in gone:
            del self.model[key]
        self.store.remove_source(*source)
        assert dict.fromkeys(gone, Cause.REMOVED) == self._heard()

    @rule(seconds=SECONDS | st.sampled_from([0.5, 1.5]))
    def advance(self, seconds: float) -> None:
        """Let time pass; nothing expires until the store is asked."""
        self.time.shift(seconds)

    @rule()
    def expire(self) -> None:
        """Drop what is too old, each once."""
        now = self.time.monotonic
        changed = set()
        for key, (taken, limit, read_at) in list(self.model.items()):
            if now - taken > limit:
                del self.model[key]
                changed.add(key)
            elif any(at is not None and now - at > limit for at in read_at):
                fresh = [None if at is None or now - at > limit else at for at in read_at]
                self.model[key] = (taken, limit, fresh)
                changed.add(key)

        found = self.store.expire()

        assert changed == {change.key for change in found}
        assert len(changed) == len(found)
        assert dict.fromkeys(changed, Cause.EXPIRED) == self._heard()
        assert () == self.store.expire()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        """The store must hold exactly the model's snapshots, in order and by key."""
        held = self.store.snapshots()
        assert sorted(self.model) == [snapshot.key for snapshot in held]
        for snapshot in held:
            taken, limit, read_at = self.model[snapshot.key]
            assert (taken, limit) == (snapshot.taken.monotonic, snapshot.stale_after)
            assert read_at == [_read_at(reading) for reading in snapshot.readings]
            assert snapshot is self.store.get(*snapshot.key)

    def _state(self, at: float | None) -> AgentState | None:
        if at is None:
            return None
        now = self.time.clock.now()
        moment: Moment = type(now)(unix=now.unix - (now.monotonic - at), monotonic=at)
        return AgentState(read_at=moment, up=True)

    def _heard(self) -> dict[TaskKey, Cause]:
        """Return what was reported since last asked, each key at most once."""
        heard, self.heard[:] = self.heard[:], []
        causes = {change.key: change.cause for change in heard}
        assert len(causes) == len(heard)
        return causes


def _read_at(reading: object) -> float | None:
    assert isinstance(reading, Agent)
    return None if reading.state is None else reading.state.read_at.monotonic


def test_store() -> None:
    """The store holds and reports just what a plain model does."""
    run_state_machine_as_test(StoreMachine, settings=settings(deadline=None))
