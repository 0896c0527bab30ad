from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace as changed

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.readings import (
    Agent,
    AgentState,
    Cluster,
    ClusterState,
    Location,
    Member,
    MemberState,
    Reading,
    Run,
    Suite,
)
from exporter.fleet.recent import KEPT_FAILURES, KEPT_READINGS, Entry, Recent
from exporter.fleet.store import Snapshot, Store
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from collections.abc import Iterable


def at(seconds: float) -> Moment:
    return Moment(unix=1_700_000_000.0 + seconds, monotonic=seconds)


def snapshot(*readings: Reading, seconds: float = 1.0, task: str = "agents") -> Snapshot:
    return Snapshot(
        provider="realload",
        source="prod",
        task=task,
        readings=readings,
        taken=at(seconds),
        stale_after=180.0,
    )


def agent(agent_id: str = "7", *, seconds: float = 1.0, up: bool | None = True) -> Agent:
    state = AgentState(
        read_at=at(seconds),
        up=up,
        reason=Reason.NOT_REACHABLE if up is False else None,
        ping_duration_seconds=0.125,
    )
    return Agent(agent_id=agent_id, agent="ubuntu", state=state)


def cluster(*states: MemberState | None) -> Cluster:
    members = tuple(
        Member(member_id=str(number), agent_id=str(number), agent="", state=state)
        for number, state in enumerate(states)
    )
    looked = ClusterState(read_at=at(1), ping_duration_seconds=0.5)
    return Cluster(
        cluster_id="3", agent_cluster="alps", controller="c:1", members=members, state=looked
    )


def member(*, up: bool) -> MemberState:
    return MemberState(read_at=at(1), up=up, reason=None if up else Reason.NOT_CONNECTED)


async def recent(snapshots: Iterable[Snapshot]) -> Recent:
    """Return what becomes of snapshots that come one after the other."""
    found = Recent()
    for each in snapshots:
        found.take(each)
        await found.catch_up()
    return found


def readings(found: Recent, kind: str = "agent", target_id: str = "7") -> list[Entry]:
    return list(found.of("realload", "prod", kind, target_id).readings())


class TestReadings:
    async def test_are_kept_with_all_that_was_found(self) -> None:
        """Time, duration, outcome and reason of a reading come back as they were."""
        found = await recent([snapshot(agent(seconds=5, up=False))])

        assert [Entry(1_700_000_005.0, 0.125, False, Reason.NOT_REACHABLE)] == readings(found)

    async def test_what_is_unknown_stays_unknown(self) -> None:
        """An outcome and a duration that the vendor did not say are not made up."""
        state = AgentState(read_at=at(5), up=None)

        found = await recent([snapshot(Agent(agent_id="7", agent="", state=state))])

        assert [Entry(1_700_000_005.0, None, None, None)] == readings(found)

    async def test_are_the_newest(self) -> None:
        """Once the ring is full, each reading takes the place of the oldest, newest first."""
        count = KEPT_READINGS + 7

        found = await recent(snapshot(agent(seconds=n)) for n in range(count))

        expected = [1_700_000_000.0 + n for n in range(count - 1, count - 1 - KEPT_READINGS, -1)]
        assert expected == [entry.timestamp_seconds for entry in readings(found)]

    async def test_what_was_carried_over_is_not_counted_again(self) -> None:
        """A state carried over from an older snapshot must count as one reading."""
        found = await recent([snapshot(agent(), seconds=1), snapshot(agent(), seconds=61)])

        assert 1 == len(readings(found))

    async def test_what_a_standby_is_told_anew_is_not_counted_again(self) -> None:
        """The same state comes with another guess of our own clock."""
        state = agent().state
        assert state is not None
        later = changed(
            state, read_at=changed(state.read_at, monotonic=state.read_at.monotonic + 1)
        )
        found = await recent(
            [snapshot(agent(), seconds=1), snapshot(changed(agent(), state=later), seconds=61)]
        )

        assert 1 == len(readings(found))

    async def test_of_a_target_that_was_not_looked_at(self) -> None:
        """A target without a state has no readings."""
        found = await recent([snapshot(Agent(agent_id="7", agent="ubuntu"))])

        assert [] == readings(found)

    async def test_of_a_cluster_are_its_members(self) -> None:
        """A cluster is down with a member's reason, and up when all its members are."""
        down = await recent([snapshot(cluster(member(up=True), member(up=False)))])
        unsure = await recent([snapshot(cluster(member(up=True), None))])
        up = await recent([snapshot(cluster(member(up=True)))])

        outcomes = [readings(each, "cluster", "3")[0][1:] for each in (down, unsure, up)]
        assert [
            (0.5, False, Reason.NOT_CONNECTED),
            (0.5, None, None),
            (0.5, True, None),
        ] == outcomes

    async def test_of_a_cluster_that_cannot_be_used_are_its_own(self) -> None:
        """A cluster that cannot be used must have its own reason in the record."""
        state = ClusterState(read_at=at(1), up=False, reason=Reason.UNKNOWN_ID)
        refused = changed(cluster(None), state=state)

        found = await recent([snapshot(refused)])

        assert [(False, Reason.UNKNOWN_ID)] == [
            each[2:] for each in readings(found, "cluster", "3")
        ]

    async def test_members_that_are_inactive_do_not_count(self) -> None:
        """A cluster is up though one of its agents is not in use."""
        known = cluster(member(up=True), None)
        idle = tuple(
            changed(each, active=False) if each.state is None else each for each in known.members
        )

        found = await recent([snapshot(changed(known, members=idle))])

        assert [True] == [each.up for each in readings(found, "cluster", "3")]

    async def test_of_a_location_are_whether_one_agent_is_up(self) -> None:
        """A location whose number of agents is unknown must add no reading."""
        outcomes = []
        for count in (2.0, 0.0, None):
            known = Location(location_id="5", location_name="", read_at=at(1), agents_up=count)
            found = await recent([snapshot(known)])
            outcomes.append([each.up for each in readings(found, "location", "5")])

        assert [[True], [False], []] == outcomes

    async def test_of_a_suite_are_whether_it_can_run(self) -> None:
        """A suite is read when its snapshot was taken."""
        found = await recent([snapshot(Suite(suite_id="3", suite="", healthy=False), seconds=4)])

        assert [Entry(1_700_000_004.0, None, False, None)] == readings(found, "suite", "3")

    async def test_runs_have_none(self) -> None:
        """Runs end by themselves, so nothing is kept of them."""
        found = await recent([snapshot(Run(run_id="3", run="", phase="running"))])

        assert [] == readings(found, "run", "3")


class TestFailures:
    async def test_outlive_the_readings_after_them(self) -> None:
        """A failure is still known when good readings have filled the ring."""
        found = await recent(
            snapshot(agent(seconds=n, up=n != 0)) for n in range(KEPT_READINGS + 1)
        )

        failures = list(found.of("realload", "prod", "agent", "7").failures())
        assert [1_700_000_000.0] == [entry.timestamp_seconds for entry in failures]
        assert all(entry.up for entry in readings(found))

    async def test_are_bounded(self) -> None:
        """A target that is down for long takes no more memory than others."""
        found = await recent(snapshot(agent(seconds=n, up=False)) for n in range(100))

        assert KEPT_FAILURES == len(list(found.of("realload", "prod", "agent", "7").failures()))


class TestFollow:
    async def test_takes_what_the_store_is_given(self) -> None:
        """Recent follows the store without being asked."""
        store, found = Store(FakeClock().clock), Recent()
        found.follow(store)

        store.put(snapshot(agent()))
        await found.catch_up()

        assert 1 == len(readings(found))

    async def test_forgets_what_left_the_inventory(self) -> None:
        """A target that is not in the newest snapshot has no history."""
        store, found = Store(FakeClock().clock), Recent()
        found.follow(store)
        store.put(snapshot(agent("7"), agent("8")))
        await found.catch_up()

        store.put(snapshot(agent("8", seconds=2)))
        await found.catch_up()

        assert (0, 2) == (len(readings(found)), len(readings(found, "agent", "8")))

    async def test_forgets_a_source_that_was_removed(self) -> None:
        """A source that is no longer configured must leave no readings."""
        store, found = Store(FakeClock().clock), Recent()
        found.follow(store)
        store.put(snapshot(agent()))
        await found.catch_up()
        store.put(snapshot(agent(seconds=2)))

        store.remove_source("realload", "prod")
        await found.catch_up()

        assert [] == readings(found)

    async def test_forgets_a_source_that_is_removed_meanwhile(self) -> None:
        """A large snapshot is added in parts; a removal between two of them is final."""
        store, found = Store(FakeClock().clock), Recent()
        found.follow(store)
        store.put(snapshot(*(agent(str(number)) for number in range(2_000))))

        catching_up = asyncio.create_task(found.catch_up())
        await asyncio.sleep(0)
        store.remove_source("realload", "prod")
        await catching_up

        assert [] == readings(found)

    async def test_takes_what_comes_meanwhile(self) -> None:
        """A snapshot that arrives while an older one is added must be added as well."""
        store, found = Store(FakeClock().clock), Recent()
        found.follow(store)
        store.put(snapshot(*(agent(str(number)) for number in range(2_000))))

        catching_up = asyncio.create_task(found.catch_up())
        await asyncio.sleep(0)
        store.put(snapshot(agent("7", seconds=2), seconds=2))
        await catching_up

        assert 2 == len(readings(found))

    async def test_outlives_an_expiry(self) -> None:
        """Readings from before an expiry must stay in the record after it."""
        clock = FakeClock(monotonic=1.0)
        store, found = Store(clock.clock), Recent()
        found.follow(store)
        store.put(snapshot(agent()))
        await found.catch_up()

        clock.shift(1000)
        assert store.expire()
        store.put(snapshot(agent(seconds=1001), seconds=1001))
        await found.catch_up()

        assert 2 == len(readings(found))

    async def test_tells_tasks_and_sources_apart(self) -> None:
        """The same id of another kind or source is another target."""
        found = await recent([snapshot(agent())])

        others = [
            found.of("realload", "lab", "agent", "7"),
            found.of("eggplant", "prod", "agent", "7"),
            found.of("realload", "prod", "recorder", "7"),
        ]
        assert [[], [], []] == [list(other.readings()) for other in others]
