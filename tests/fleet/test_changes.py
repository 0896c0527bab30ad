from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.changes import Since, SinceByTarget, TargetChange, changes, dated
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import (
    Agent,
    AgentState,
    Cluster,
    ClusterState,
    Controller,
    Member,
    MemberState,
    Reading,
    Recorder,
    RecorderState,
    State,
    Suite,
)


NOW = Moment(unix=1.0, monotonic=1.0)


def agent(up: bool | None = True, *, active: bool = True, outdated: bool = False) -> Agent:
    reason = Reason.NOT_REACHABLE if up is False else None
    state = AgentState(read_at=NOW, up=up, reason=reason, outdated=outdated)
    return Agent(agent_id="46", agent="Local", active=active, state=state if active else None)


async def found(before: list[Reading], after: list[Reading]) -> list[TargetChange]:
    return [change async for change in changes(before, after)]


async def whats(before: list[Reading], after: list[Reading]) -> list[str]:
    return [each.what for each in await found(before, after)]


class TestChanges:
    async def test_a_first_look_at_a_healthy_fleet_is_quiet(self) -> None:
        """A start must not fill the log with what is well."""
        assert [] == await whats([], [agent()])

    async def test_a_first_look_names_what_is_down(self) -> None:
        """The first poll must report the targets that are down already."""
        expected = TargetChange(
            what="down", kind=Kind.AGENT, target_id="46", target="Local", reason="not_reachable"
        )

        assert [expected] == await found([], [agent(up=False)])

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            ("abc", "abc", []),
            ("abc", "cab", []),
            ("abc", "xabc", []),
            ("abc", "ac", ["gone b"]),
            ("abc", "ab", ["gone c"]),
            ("abc", "", ["gone a", "gone b", "gone c"]),
            ("aBc", "cAb", ["down A", "up b"]),
            ("abC", "xcab", ["up c"]),
            ("ab", "abX", ["down X"]),
            # Listed twice.
            ("aba", "ab", []),
            ("abab", "ba", []),
        ],
    )
    async def test_the_order_of_a_list_is_no_change(
        self, before: str, after: str, expected: list[str]
    ) -> None:
        """The order of a list must not matter; here, targets with a capital letter are down."""

        def fleet(names: str) -> list[Reading]:
            return [
                replace(agent(up=name.islower()), agent_id=name.lower(), agent=name)
                for name in names
            ]

        changed = await found(fleet(before), fleet(after))

        assert expected == [f"{each.what} {each.target}" for each in changed]

    async def test_what_stays_down_is_no_change(self) -> None:
        """A dead agent is one line, not one line a minute."""
        assert [] == await whats([agent(up=False)], [agent(up=False)])

    async def test_coming_back_is_a_change(self) -> None:
        """The end of an outage must be in the log as well."""
        assert ["up"] == await whats([agent(up=False)], [agent()])

    async def test_becoming_outdated_is_a_change(self) -> None:
        """An outdated agent spoils a test although it answers."""
        assert ["outdated"] == await whats([agent()], [agent(outdated=True)])

    async def test_leaving_the_inventory_is_a_change(self) -> None:
        """A target that leaves the inventory must be reported as gone."""
        assert ["gone"] == await whats([agent()], [])

    @pytest.mark.parametrize(
        ("before", "after", "expected"), [(True, False, "inactive"), (False, True, "active")]
    )
    async def test_switching_the_watch_is_a_change(
        self, before: bool, after: bool, expected: str
    ) -> None:
        """An agent that is no longer watched cannot page, so the log must tell why."""
        assert [expected] == await whats([agent(active=before)], [agent(active=after)])

    async def test_another_reason_is_a_change(self) -> None:
        """A target that fails in a new way is worth a line."""
        state = AgentState(read_at=NOW, up=False, reason=Reason.TIMEOUT)
        timed_out = Agent(agent_id="46", agent="Local", active=True, state=state)

        assert ["timeout"] == [each.reason for each in await found([agent(up=False)], [timed_out])]

    async def test_controllers_recorders_clusters_and_members_are_compared(self) -> None:
        """Every kind of machine that can page must be in the log."""
        down = State(read_at=NOW, up=False, reason=Reason.TIMEOUT)
        member = Member(
            member_id="71",
            agent_id="59",
            agent="Ubuntu",
            state=MemberState(read_at=NOW, up=False, reason=Reason.NOT_CONNECTED),
        )
        unjudged = Member(member_id="72", agent_id="60", agent="Debian")

        seen = await found(
            [],
            [
                Controller(controller="c:1", state=down),
                Recorder(
                    recorder_id="4",
                    recorder="R",
                    state=RecorderState(read_at=NOW, up=False, reason=Reason.TIMEOUT),
                ),
                Cluster(
                    cluster_id="14",
                    agent_cluster="C2",
                    controller="c:1",
                    state=ClusterState(read_at=NOW, up=False, reason=Reason.ACCESS_DENIED),
                    members=(member, unjudged),
                ),
                Suite(suite_id="1", suite="Nightly"),
            ],
        )

        assert [
            ("controller", "c:1", "timeout"),
            ("recorder", "R", "timeout"),
            ("cluster", "C2", "access_denied"),
            ("member", "C2/Ubuntu", "not_connected"),
        ] == [(change.kind, change.target, change.reason) for change in seen]


class Reader:
    """Dates what each poll says of one target from what the polls before said."""

    def __init__(self) -> None:
        self.since: SinceByTarget = {}

    def read(self, reading: Reading) -> Reading:
        found: dict[tuple[Kind, str], Since] = {}
        reading = dated(reading, self.since, found)
        self.since = found
        return reading

    def at(self, up: bool | None, seconds: float) -> float | None:
        """Return since when an agent is so that is read so at a time."""
        state = AgentState(read_at=Moment(unix=seconds, monotonic=seconds), up=up)
        reading = self.read(Agent(agent_id="46", agent="Local", state=state))
        assert isinstance(reading, Agent)
        return reading.changed_timestamp_seconds


class TestDated:
    def test_at_first_sight_it_is_so_at_the_latest_since_then(self) -> None:
        """A target's state must count as lasting since its first reading."""
        assert 10.0 == Reader().at(up=False, seconds=10.0)

    def test_what_stays_so_keeps_the_moment_at_which_it_became_so(self) -> None:
        """An outage is as long as it is, however often it was read."""
        reader = Reader()

        found = [reader.at(up, at) for at, up in enumerate((True, False, False, True, True))]

        assert [0.0, 1.0, 1.0, 3.0, 3.0] == found

    def test_what_is_unknown_has_no_moment_and_ends_none(self) -> None:
        """A vendor that did not answer for a while has not ended the outage of an agent."""
        reader = Reader()

        found = [reader.at(up, at) for at, up in enumerate((False, None, False, None, True))]

        assert [0.0, None, 0.0, None, 4.0] == found

    def test_a_target_without_a_state_is_unknown(self) -> None:
        """A target without a state must have no time of change, and keep the former one."""
        reader = Reader()
        reader.at(up=False, seconds=1.0)

        unread = reader.read(Agent(agent_id="46", agent="Local"))

        assert Agent(agent_id="46", agent="Local") == unread
        assert 1.0 == reader.at(up=False, seconds=3.0)

    def test_a_reading_whose_state_is_forgotten_has_no_moment(self) -> None:
        """Since when it is down is not said of what is not known to be down."""
        known = Reader().read(agent(up=False))

        assert isinstance(known, Agent)
        assert known.changed_timestamp_seconds is not None
        assert None is known.fresh(not_before=2.0).changed_timestamp_seconds

    def test_a_carried_state_is_dated_by_when_it_was_read(self) -> None:
        """A reading that a poll takes over from the one before is as old as it is."""
        reader = Reader()
        reader.at(up=True, seconds=5.0)

        assert 8.0 == reader.at(up=False, seconds=8.0)
        assert 8.0 == reader.at(up=False, seconds=8.0)

    def test_each_member_of_each_cluster_has_its_own(self) -> None:
        """An agent may be reached by one controller and not by another."""
        reader = Reader()

        def cluster(up: bool, at: float) -> Cluster:
            state = MemberState(read_at=Moment(unix=at, monotonic=at), up=up)
            steady = MemberState(read_at=state.read_at, up=True)
            members = (
                Member(member_id="1", agent_id="46", agent="Local", state=state),
                Member(member_id="2", agent_id="47", agent="Other", state=steady),
            )
            return Cluster(
                cluster_id="7",
                agent_cluster="alps",
                controller="c:1",
                members=members,
                state=ClusterState(read_at=state.read_at),
            )

        reader.read(cluster(up=True, at=1.0))
        found = reader.read(cluster(up=False, at=2.0))

        assert isinstance(found, Cluster)
        assert [2.0, 1.0] == [member.changed_timestamp_seconds for member in found.members]
        forgotten = found.fresh(not_before=math.inf)
        assert {None} == {member.changed_timestamp_seconds for member in forgotten.members}

    def test_a_cluster_has_one_of_its_own(self) -> None:
        """A cluster can be unusable whatever is known of its members."""
        reader = Reader()

        def cluster(up: bool, at: float) -> Cluster:
            state = ClusterState(read_at=Moment(unix=at, monotonic=at), up=up)
            return Cluster(cluster_id="7", agent_cluster="alps", controller="c:1", state=state)

        reader.read(cluster(up=False, at=1.0))
        reader.read(cluster(up=True, at=2.0))
        found = reader.read(cluster(up=True, at=3.0))

        assert isinstance(found, Cluster)
        assert 2.0 == found.changed_timestamp_seconds
        assert found.fresh(not_before=math.inf).changed_timestamp_seconds is None

    @pytest.mark.parametrize(
        "reading",
        [
            Controller(controller="c:1", state=State(read_at=NOW, up=True)),
            Recorder(recorder_id="5", recorder="r", state=RecorderState(read_at=NOW, up=False)),
        ],
        ids=["controller", "recorder"],
    )
    def test_every_machine_has_one(self, reading: Controller | Recorder) -> None:
        """A controller and a recorder must have the time since which they are up or down."""
        found = Reader().read(reading)

        assert 1.0 == getattr(found, "changed_timestamp_seconds", None)

    def test_a_suite_has_none(self) -> None:
        """A suite must have no time of change: it is neither up nor down."""
        suite = Suite(suite_id="1", suite="s")

        assert suite is Reader().read(suite)
