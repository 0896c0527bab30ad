from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import (
    Account,
    Agent,
    AgentJobs,
    Member,
    MinVersion,
    Outcome,
    Reading,
    Run,
    Suite,
    SuiteRun,
)
from exporter.overview.build import arranged, runs_in_flight, target_rows
from exporter.overview.rows import (
    AgentRow,
    ClusterRow,
    Condition,
    LocationRow,
    RunRow,
    SuiteRow,
    TargetRow,
)
from tests.web import fakes


#: A member of a cluster of which nothing is known.
NEVER_ASKED = Member(member_id="m-x", agent_id="id-x", agent="x")


def row(reading: Reading) -> TargetRow:
    """Return the row of the one reading of a snapshot."""
    (found,) = target_rows(fakes.FakeView(reading).snapshots(), fakes.NOW)
    return found


class TestStates:
    @pytest.mark.parametrize(
        ("up", "expected"),
        [(True, Condition.UP), (False, Condition.DOWN), (None, Condition.UNKNOWN)],
    )
    def test_follows_the_newest_look(self, up: bool | None, expected: Condition) -> None:
        """A target is what the newest poll found."""
        found = row(fakes.agent(up=up))

        assert expected is found.state

    def test_is_unknown_without_a_look(self) -> None:
        """A target without a reading, or whose reading expired, must be unknown."""
        found = row(fakes.agent(state=None))

        assert (Condition.UNKNOWN, None) == (found.state, found.read_timestamp_seconds)

    def test_inactive_wins(self) -> None:
        """An inactive agent is neither up nor down and has no reason."""
        found = row(fakes.agent(up=False, active=False))

        assert (Condition.INACTIVE, None) == (found.state, found.reason)

    def test_down_has_its_reason(self) -> None:
        """The row of a target that is down must have the reason."""
        found = row(fakes.agent(up=False))

        assert Reason.NOT_REACHABLE is found.reason


class TestClusters:
    def test_is_up_with_all_members(self) -> None:
        """A cluster is up when all its members are."""
        found = row(fakes.cluster(fakes.member("a", up=True), fakes.member("b", up=True)))

        assert Condition.UP is found.state

    def test_is_down_with_one_member(self) -> None:
        """A cluster is down when one of its members is."""
        found = row(fakes.cluster(fakes.member("a", up=True), fakes.member("b", up=False)))

        assert isinstance(found, ClusterRow)
        assert (Condition.DOWN, 1) == (found.state, found.members_down)

    def test_is_down_when_it_cannot_be_used(self) -> None:
        """A cluster that is refused says why itself, though nothing is known of its members."""
        found = row(fakes.cluster(NEVER_ASKED, reason=Reason.ACCESS_DENIED))

        assert isinstance(found, ClusterRow)
        assert (Condition.DOWN, Reason.ACCESS_DENIED) == (found.state, found.reason)
        assert Condition.UNKNOWN is found.members[0].state

    def test_outdated_is_no_matter_of_up_or_down(self) -> None:
        """An outdated cluster may be up."""
        cluster = fakes.cluster()
        assert cluster.state is not None

        found = row(fakes.changed(cluster, state=fakes.changed(cluster.state, outdated=True)))

        assert (Condition.UP, True) == (found.state, found.outdated)

    def test_says_since_when(self) -> None:
        """A cluster's row must have the time since which its state lasts."""
        found = row(fakes.changed(fakes.cluster(), changed_timestamp_seconds=7.0))

        assert 7.0 == found.changed_timestamp_seconds

    def test_inactive_members_are_not_judged(self) -> None:
        """An inactive member must leave its cluster up."""
        idle = fakes.changed(NEVER_ASKED, active=False)

        found = row(fakes.cluster(fakes.member("a", up=True), idle))

        assert isinstance(found, ClusterRow)
        assert (Condition.UP, Condition.INACTIVE) == (found.state, found.members[1].state)

    def test_a_member_tells_its_version(self) -> None:
        """A member's row must show the version that its controller reports."""
        known = fakes.member("a", up=True)
        assert known.state is not None
        known = fakes.changed(known, state=fakes.changed(known.state, version="4.8.24"))

        found = row(fakes.cluster(known))

        assert isinstance(found, ClusterRow)
        assert "4.8.24" == found.members[0].version

    def test_is_unknown_without_a_look(self) -> None:
        """A cluster whose controller could not be asked must be unknown."""
        found = row(fakes.cluster(looked_at=False))

        assert Condition.UNKNOWN is found.state

    def test_inactive_wins(self) -> None:
        """An inactive cluster is inactive whatever its members were."""
        found = row(fakes.cluster(fakes.member("a", up=False), active=False))

        assert Condition.INACTIVE is found.state


class TestLocations:
    @pytest.mark.parametrize(
        ("facts", "expected"),
        [
            ({"agents": 3.0, "agents_up": 1.0}, Condition.UP),
            ({"agents": 3.0, "agents_up": 0.0}, Condition.DOWN),
            ({"agents": 0.0, "agents_up": 0.0}, Condition.DOWN),
            ({"agents": 3.0}, Condition.UNKNOWN),
            ({"agents": 3.0, "active": False}, Condition.INACTIVE),
        ],
    )
    def test_is_up_with_one_agent(self, facts: dict[str, Any], expected: Condition) -> None:
        """A location must be up with one agent, and inactive when it is disabled."""
        found = row(fakes.location(**facts))

        assert expected is found.state

    def test_tells_what_can_run_there(self) -> None:
        """Agents and capacity are in the row."""
        found = row(fakes.location(agents=3.0, agents_up=2.0, slots=4.0, threads_per_engine=500.0))

        assert isinstance(found, LocationRow)
        assert (3.0, 2.0, 4.0, 500.0) == (
            found.agents,
            found.agents_up,
            found.slots,
            found.threads_per_engine,
        )


class TestFacts:
    def test_carries_what_was_read(self) -> None:
        """An agent's row holds its facts, its age and the source it comes from."""
        found = row(fakes.agent())

        assert {
            "kind": "agent",
            "provider": "realload",
            "source": "prod",
            "id": "id-agent-1",
            "name": "agent-1",
            "version": "4.8.24",
            "clock_delta_seconds": -0.25,
            "ping_duration_seconds": 0.012,
            "read_timestamp_seconds": fakes.NOW.unix - 30,
            "labels": {"site": "bern"},
        } == {
            name: getattr(found, name)
            for name in (
                "kind",
                "provider",
                "source",
                "id",
                "name",
                "version",
                "clock_delta_seconds",
                "ping_duration_seconds",
                "read_timestamp_seconds",
                "labels",
            )
        }

    @pytest.mark.parametrize(
        ("reading", "kind"),
        [
            (fakes.agent(), Kind.AGENT),
            (fakes.controller(), Kind.CONTROLLER),
            (fakes.cluster(), Kind.CLUSTER),
            (fakes.location(agents_up=1.0), Kind.LOCATION),
            (fakes.recorder(), Kind.RECORDER),
            (fakes.suite(), Kind.SUITE),
        ],
    )
    def test_knows_all_kinds(self, reading: Reading, kind: Kind) -> None:
        """Each kind of target has a row."""
        found = row(reading)

        assert kind is found.kind

    def test_a_suite_has_its_runs(self) -> None:
        """A suite must have its finished runs, and the time of its snapshot."""
        found = row(fakes.suite(passed=False))

        assert isinstance(found, SuiteRow)
        assert [("9", False)] == [(run.id, run.passed) for run in found.finished_runs]
        assert fakes.NOW.unix == found.read_timestamp_seconds

    def test_a_suite_has_its_place_and_its_users(self) -> None:
        """A suite's row must have its default agent or cluster, and its last run's users."""
        run = SuiteRun(run_id="9", max_users=40.0)

        found = row(fakes.changed(fakes.suite(), agent_id="145", last_run=run))

        assert isinstance(found, SuiteRow)
        assert ("145", "", 40.0) == (found.agent_id, found.cluster_id, found.last_run_max_users)

    @pytest.mark.parametrize(
        ("counts", "expected"),
        [
            ({"running": 2.0, "completed": 5.0}, (2.0, fakes.NOW.unix - 90)),
            ({"completed": 5.0}, (0.0, fakes.NOW.unix - 90)),
            (None, (None, None)),
        ],
    )
    def test_an_agent_has_its_jobs(
        self, counts: dict[str, float] | None, expected: tuple[float | None, float | None]
    ) -> None:
        """An agent's row must have the number of its jobs and their age, or neither."""
        jobs = AgentJobs(agent_id="id-a", agent="a", read_at=fakes.ago(90), counts=counts)
        view = fakes.FakeView(jobs, fakes.agent("a"), fakes.agent("b"))

        found = list(target_rows(view.snapshots(), fakes.NOW))

        assert [expected, (None, None)] == [
            (each.jobs_running, each.jobs_read_timestamp_seconds)
            for each in found
            if isinstance(each, AgentRow)
        ]

    @pytest.mark.parametrize(
        ("component", "expected"),
        [("measuring_agent", "4.9.1"), ("proxy_recorder", None), ("something_else", None)],
    )
    def test_has_the_oldest_accepted_version(self, component: str, expected: str | None) -> None:
        """A target must have the minimum version of its kind."""
        minimum = MinVersion(component=component, version="4.9.1")
        view = fakes.FakeView(fakes.agent(), minimum)

        (found,) = target_rows(view.snapshots(), fakes.NOW)

        assert expected == found.minimum_version

    def test_leaves_out_what_is_no_target(self) -> None:
        """A reading about the account is no row."""
        view = fakes.FakeView(Account())

        found = list(target_rows(view.snapshots(), fakes.NOW))

        assert [] == found


def test_what_needs_a_look_comes_first() -> None:
    """Within a kind, rows go from down to up, then by name."""
    readings: list[Agent] = [
        fakes.agent("b"),
        fakes.agent("a"),
        fakes.agent("off", active=False),
        fakes.agent("new", state=None),
        fakes.agent("z", up=False),
    ]
    view = fakes.FakeView(fakes.suite(), *readings)

    rows = arranged(target_rows(view.snapshots(), fakes.NOW))

    assert ["z", "new", "off", "a", "b", "nightly"] == [found.name for found in rows]


def flights(*readings: Reading) -> list[RunRow]:
    return runs_in_flight(fakes.FakeView(*readings).snapshots())


def running_suite(run_id: str = "9") -> Suite:
    run = SuiteRun(run_id=run_id, start_timestamp_seconds=fakes.NOW.unix - 60)
    return Suite(suite_id="3", suite="nightly", current_run=run)


class TestRunsInFlight:
    def test_a_run_of_its_own(self) -> None:
        """A run that is followed has its phase, its suite's name and a page."""
        run = Run(
            run_id="9",
            run="soak",
            phase="booting",
            suite_id="3",
            start_timestamp_seconds=fakes.NOW.unix - 30,
        )

        (found,) = flights(run, Suite(suite_id="3", suite="nightly"))

        assert ("soak", "booting", "nightly", fakes.NOW.unix - 30, True) == (
            found.name,
            found.phase,
            found.suite,
            found.start_timestamp_seconds,
            found.followed,
        )

    def test_a_run_that_only_its_suite_tells_of(self) -> None:
        """A suite's current run must be in flight when the vendor has no runs of their own."""
        (found,) = flights(running_suite())

        assert ("nightly", "running", fakes.NOW.unix - 60, False) == (
            found.name,
            found.phase,
            found.start_timestamp_seconds,
            found.followed,
        )

    def test_no_run_is_told_twice(self) -> None:
        """A run that is followed must not be listed again by its suite, also after it has ended."""
        going = flights(Run(run_id="9", run="soak", phase="stopping"), running_suite())
        ended = flights(Run(run_id="9", run="soak", phase="ended"), running_suite())

        assert (["stopping"], []) == ([row.phase for row in going], ended)

    def test_suites_without_ids_of_runs(self) -> None:
        """A vendor that does not name its runs does not make them one."""
        other = Suite(suite_id="4", suite="weekly", current_run=SuiteRun(run_id=""))

        assert 2 == len(flights(running_suite(run_id=""), other))

    def test_order(self) -> None:
        """Runs stand by phase, the longest running first within it."""
        runs = [
            Run(run_id="1", run="young", phase="running", start_timestamp_seconds=200.0),
            Run(run_id="2", run="old", phase="running", start_timestamp_seconds=100.0),
            Run(run_id="3", run="new", phase="pending"),
            Run(run_id="4", run="odd", phase="a phase of tomorrow"),
        ]

        assert ["new", "old", "young", "odd"] == [row.name for row in flights(*runs)]

    def test_tells_what_is_the_matter(self) -> None:
        """A run must show that it waits, has errors, or lacks engines."""
        run = Run(
            run_id="9",
            run="soak",
            phase="stuck",
            delayed_start=False,
            internal_error=True,
            engines=2.0,
            engines_planned=5.0,
            engine_errors=True,
        )

        (found,) = flights(run)

        assert ("stuck", False, True, 2.0, 5.0, True) == (
            found.phase,
            found.delayed_start,
            found.internal_error,
            found.engines,
            found.engines_planned,
            found.engine_errors,
        )


class TestOutcomes:
    def test_an_abort_does_not_hide_the_verdict_before(self) -> None:
        """The outcome of the newest run and the newest verdict must be separate fields."""
        aborted = SuiteRun(run_id="10", outcome=Outcome.ABORTED)
        suite = fakes.changed(fakes.suite(passed=False), last_run=aborted)

        found = row(suite)

        assert isinstance(found, SuiteRow)
        assert (Outcome.ABORTED, False) == (found.last_run_outcome, found.last_run_passed)

    @pytest.mark.parametrize("outcome", Outcome)
    def test_a_finished_run_has_its_outcome_and_its_verdict(self, outcome: Outcome) -> None:
        """Scripts can read either."""
        run = SuiteRun(run_id="10", outcome=outcome)

        found = row(fakes.changed(fakes.suite(), last_run=run))

        assert isinstance(found, SuiteRow)
        assert (outcome, outcome.passed) == (
            found.finished_runs[0].outcome,
            found.finished_runs[0].passed,
        )
