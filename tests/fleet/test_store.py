from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.readings import Agent, AgentJobs, AgentState, Cluster, ClusterState
from exporter.fleet.store import Cause, Snapshot, SnapshotChange, Store
from tests.support.clock import FakeClock
from tests.support.fleet import AGENT, CLUSTER


if TYPE_CHECKING:
    from exporter.clock import Moment
    from exporter.fleet.readings import Reading


def snapshot(
    clock: FakeClock, *readings: Reading, task: str = "agents", stale_after: float = 180.0
) -> Snapshot:
    """Make a snapshot that is taken now."""
    return Snapshot(
        provider="realload",
        source="prod",
        task=task,
        readings=readings,
        taken=clock.clock.now(),
        stale_after=stale_after,
    )


def agent(read_at: Moment | None, number: str = "1") -> Agent:
    """Make an agent that was looked at then."""
    state = None if read_at is None else AgentState(read_at=read_at, up=True)
    return Agent(agent_id=number, agent="a", state=state)


def test_a_snapshot_replaces_its_predecessor_whole() -> None:
    """A target that the newest snapshot lacks must be gone at once."""
    clock = FakeClock()
    store = Store(clock.clock)
    store.put(snapshot(clock, agent(None, "1"), agent(None, "2")))

    store.put(snapshot(clock, agent(None, "2")))

    kept = store.get("realload", "prod", "agents")
    assert kept is not None
    assert (agent(None, "2"),) == kept.readings


def test_snapshots_are_ordered_by_key() -> None:
    """The order does not depend on which poll came first."""
    clock = FakeClock()
    store = Store(clock.clock)

    for task in ("suites", "agents", "clusters"):
        store.put(snapshot(clock, task=task))

    assert ["agents", "clusters", "suites"] == [each.task for each in store.snapshots()]


def test_a_snapshot_lives_until_its_limit_and_not_longer() -> None:
    """A snapshot must live exactly until its limit."""
    clock = FakeClock()
    store = Store(clock.clock)
    store.put(snapshot(clock, agent(None)))

    clock.shift(180.0)
    at_limit = store.expire()
    clock.shift(0.5)
    after = store.expire()

    assert () == at_limit
    assert (SnapshotChange(key=("realload", "prod", "agents"), cause=Cause.EXPIRED),) == after
    assert store.get("realload", "prod", "agents") is None


def test_a_snapshot_without_a_limit_stays() -> None:
    """The source's own state is there as long as the source is."""
    clock = FakeClock()
    store = Store(clock.clock)
    store.put(snapshot(clock, task="source", stale_after=math.inf))

    clock.shift(10**9)

    assert () == store.expire()
    assert store.get("realload", "prod", "source") is not None


def test_a_carried_state_expires_within_its_snapshot() -> None:
    """A fresh snapshot that carries an old state over loses only that state."""
    clock = FakeClock()
    store = Store(clock.clock)
    old = clock.clock.now()
    clock.shift(100.0)
    new = clock.clock.now()
    store.put(snapshot(clock, agent(old, "1"), agent(new, "2")))

    clock.shift(81.0)
    changes = store.expire()

    kept = store.get("realload", "prod", "agents")
    assert kept is not None
    assert (agent(None, "1"), agent(new, "2")) == kept.readings
    assert [Cause.EXPIRED] == [change.cause for change in changes]


def test_every_kind_of_carried_state_expires() -> None:
    """Clusters with their members and job counts forget like agents do."""
    clock = FakeClock()
    store = Store(clock.clock)
    old = clock.clock.now()
    jobs = AgentJobs(agent_id="1", agent="a", read_at=old, counts={"running": 1.0})
    cluster = msgspec.structs.replace(CLUSTER, state=ClusterState(read_at=old))
    clock.shift(100.0)
    store.put(snapshot(clock, jobs, cluster))

    clock.shift(81.0)
    store.expire()

    kept = store.get("realload", "prod", "agents")
    assert kept is not None
    forgotten_jobs, forgotten_cluster = kept.readings
    assert isinstance(forgotten_jobs, AgentJobs)
    assert forgotten_jobs.counts is None
    assert isinstance(forgotten_cluster, Cluster)
    assert forgotten_cluster.state is None
    assert [None] == [member.state for member in forgotten_cluster.members]


def test_what_is_forgotten_is_not_reported_again() -> None:
    """An expired snapshot must be reported once."""
    clock = FakeClock()
    store = Store(clock.clock)
    old = clock.clock.now()
    clock.shift(100.0)
    store.put(snapshot(clock, agent(old)))
    clock.shift(81.0)
    store.expire()

    assert () == store.expire()


def test_only_what_is_due_is_walked() -> None:
    """The readings of a snapshot are left alone before its own deadline."""
    clock = FakeClock()
    store = Store(clock.clock)
    walked = 0

    class Watched(Agent, frozen=True, kw_only=True):
        def fresh(self, *, not_before: float) -> Watched:
            nonlocal walked
            walked += 1
            return super().fresh(not_before=not_before)

    watched = Watched(agent_id="1", agent="a", state=AGENT.state)
    store.put(snapshot(clock, watched))
    store.put(snapshot(clock, task="suites", stale_after=1.0))

    clock.shift(2.0)
    store.expire()

    assert ["agents"] == [each.task for each in store.snapshots()]
    assert walked == 0


def test_subscribers_hear_of_every_change_after_it_was_made() -> None:
    """Put, expiry and removal are reported, and the store already shows them."""
    clock = FakeClock()
    store = Store(clock.clock)
    heard: list[tuple[Cause, int]] = []
    store.subscribe(lambda change: heard.append((change.cause, len(store.snapshots()))))

    store.put(snapshot(clock, task="agents"))
    store.put(snapshot(clock, task="suites", stale_after=1.0))
    clock.shift(2.0)
    store.expire()
    store.remove("realload", "prod", "agents")

    assert [
        (Cause.PUT, 1),
        (Cause.PUT, 2),
        (Cause.EXPIRED, 1),
        (Cause.REMOVED, 0),
    ] == heard


def test_a_removed_source_leaves_nothing() -> None:
    """All of its tasks go, and those of other sources stay."""
    clock = FakeClock()
    store = Store(clock.clock)
    store.put(snapshot(clock, task="agents"))
    store.put(snapshot(clock, task="suites"))
    other = msgspec.structs.replace(snapshot(clock), source="lab")
    store.put(other)

    store.remove_source("realload", "prod")

    assert (other,) == store.snapshots()


def test_removing_what_is_not_there_is_no_change() -> None:
    """A task that never had a snapshot can be removed silently."""
    clock = FakeClock()
    store = Store(clock.clock)
    heard: list[SnapshotChange] = []
    store.subscribe(heard.append)

    store.remove("realload", "prod", "agents")

    assert [] == heard
