from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import pytest

from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload.fleet import Fleet
from exporter.simulator.realload.runs import Suite, make_suites


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


def states(fleet: Fleet, moment: float) -> bytes:
    """Print everything of a fleet at a moment."""
    return msgspec.json.encode(
        [
            fleet.agents,
            fleet.controllers,
            fleet.clusters,
            fleet.recorders,
            fleet.suites,
            [agent.is_up(moment) for agent in fleet.agents.values()],
        ]
    )


def test_equal_seeds_give_equal_fleets(time: FakeClock) -> None:
    """Two fleets of one seed are the same at every moment, one of another seed is not."""
    one, two, other = (
        states(Fleet(SimulatorOptions(seed=seed, agents=200), time.clock), 5000)
        for seed in (7, 7, 8)
    )

    assert one == two
    assert one != other


def test_the_default_fleet_shows_everything(time: FakeClock) -> None:
    """A small fleet has one of each kind of trouble."""
    fleet = Fleet(SimulatorOptions(), time.clock)
    agents = fleet.agents.values()

    assert 20 == len(agents)
    assert any(agent.outdated for agent in agents)
    assert any(not agent.active for agent in agents)
    assert any(abs(agent.skew_seconds) > 5 for agent in agents)
    assert any(abs(agent.skew_seconds) > 3600 for agent in agents)
    assert any(not agent.token for agent in agents)
    assert any(agent.cloud for agent in agents)
    assert any(cluster.failing for cluster in fleet.clusters.values())
    assert any(not cluster.active for cluster in fleet.clusters.values())
    assert any(cluster.token for cluster in fleet.clusters.values())
    assert any(controller.flagged for controller in fleet.controllers.values())
    assert any(not controller.is_up(0) for controller in fleet.controllers.values())
    assert any(not recorder.is_up(0) for recorder in fleet.recorders.values())


def test_an_agent_goes_down_and_comes_back_within_minutes(time: FakeClock) -> None:
    """In the default fleet, an outage must begin and end within five minutes."""
    fleet = Fleet(SimulatorOptions(), time.clock)
    flapping = fleet.agents["42"]

    seen = [flapping.is_up(moment) for moment in range(0, 300, 10)]

    assert [True, False, True] == [
        up for index, up in enumerate(seen) if index == 0 or seen[index - 1] is not up
    ]


def test_only_roles_are_down_at_the_beginning(time: FakeClock) -> None:
    """A large fleet begins with all others up, so that tests know where they stand."""
    fleet = Fleet(SimulatorOptions(agents=1000), time.clock)

    assert ["44", "53"] == [key for key, agent in fleet.agents.items() if not agent.is_up(0)]


def test_sizes_are_obeyed(time: FakeClock) -> None:
    """The options must give the number of each kind, also in small fleets."""
    options = SimulatorOptions(
        agents=2, controllers=1, clusters=3, cluster_members=5, recorders=1, suites=1
    )

    fleet = Fleet(options, time.clock)

    tables = (fleet.agents, fleet.controllers, fleet.clusters, fleet.recorders, fleet.suites)
    assert [2, 1, 3, 1, 1] == [len(table) for table in tables]


def test_an_empty_fleet_is_possible(time: FakeClock) -> None:
    """A fleet without anything must be possible."""
    options = SimulatorOptions(agents=0, controllers=0, clusters=4, recorders=0, suites=0)

    fleet = Fleet(options, time.clock)

    assert {} == fleet.clusters


def test_ten_thousand_agents_are_distinct(time: FakeClock) -> None:
    """Descriptions are unique per user at the vendor; so are they here."""
    fleet = Fleet(SimulatorOptions(agents=10_000), time.clock)

    assert 10_000 == len({agent.description for agent in fleet.agents.values()})


def test_a_deleted_agent_leaves_its_clusters(time: FakeClock) -> None:
    """A thing that is deleted is nowhere any more."""
    fleet = Fleet(SimulatorOptions(), time.clock)
    cluster = fleet.clusters["11"]
    gone = next(iter(cluster.members.values()))

    fleet.delete("agents", gone)

    assert gone not in {agent.agent_id for _, agent in fleet.members(cluster)}


def test_runs_begin_by_the_schedule() -> None:
    """A run must begin in every period, and last for its duration."""
    suite = Suite(suite_id=2, name="s", place="m-1", period_seconds=300, latest_seconds=100)

    before, after = suite.runs(199), suite.runs(201)

    assert [1, 2, 3, 4, 5] == [run.run_id for run in before]
    assert (6, True) == (after[-1].run_id, after[-1].running)


def test_old_runs_are_forgotten() -> None:
    """The list stays bounded however long the simulation lasts."""
    suite = Suite(suite_id=2, name="s", place="m-1")

    runs = suite.runs(10_000_000)

    assert 20 == len(runs)


def test_a_suite_without_history_never_runs() -> None:
    """The suite that is not healthy has no run, today and later."""
    assert [] == Suite(suite_id=2, name="s", place="m-1", history=0).runs(1e6)


def test_a_forced_outcome_shows() -> None:
    """A suite with the forced outcome `fail` must have failed jobs and sessions."""
    suite = Suite(suite_id=2, name="s", place="m-1", outcomes=["fail"])

    run = suite.runs(0)[-1]

    assert run.jobs_failed > 0
    assert run.sessions_failed > 0
    assert suite.jobs == run.jobs_failed + run.jobs_passed


def test_a_run_can_be_stopped() -> None:
    """A run stopped after one of three jobs must have ended, with two jobs not executed."""
    suite = Suite(suite_id=2, name="s", place="m-1", outcomes=["stop"])

    run = suite.runs(0)[-1]

    assert (True, False) == (run.stopped, run.running)
    assert (3, 1, 0) == (run.jobs, run.jobs_passed, run.jobs_failed)
    assert 15.0 == run.updated - run.started


def test_outcomes_take_turns() -> None:
    """A suite can fail in every second run."""
    suite = Suite(suite_id=2, name="s", place="m-1", outcomes=["fail", "pass"])

    failed = [run.jobs_failed > 0 for run in suite.runs(0)]

    assert [True, False, True, False, True] == failed


@pytest.mark.parametrize("outcome", ["pass", "fail", "stop"])
@pytest.mark.parametrize("jobs", [0, 1, 3, 7])
@pytest.mark.parametrize("moment", [205.0, 220.0, 240.0, 250.0])
def test_the_jobs_of_a_run_add_up(
    outcome: Literal["pass", "fail", "stop"], jobs: int, moment: float
) -> None:
    """At any time the jobs' sessions, failures and times are those of the run."""
    stopped_after = min(1, jobs)
    run = Suite(
        suite_id=2,
        name="s",
        place="m-1",
        jobs=jobs,
        outcomes=[outcome],
        stopped_after=stopped_after,
    ).runs(moment)[-1]

    parts = run.parts()

    assert run.sessions_passed == sum(part.sessions_passed for part in parts)
    assert run.sessions_failed == sum(part.sessions_failed for part in parts)
    assert run.jobs_failed == sum(part.failed for part in parts)
    assert run.jobs_passed == sum(not part.failed and not part.running for part in parts)
    assert all(run.started <= part.started <= part.updated <= run.updated for part in parts)
    assert all(part.sessions_failed == 0 for part in parts if not part.failed)


@pytest.mark.parametrize(("lag", "seen"), [(10.0, (True, False)), (-10.0, (False, True))])
def test_one_of_the_two_lists_can_be_behind(
    lag: float,
    seen: tuple[bool, bool],
) -> None:
    """Five seconds after its begin a run is in one of them only, and later in both."""
    suite = Suite(suite_id=2, name="s", place="m-1", lag_seconds=lag)

    found = [(suite.runs(200 + at)[-1].running, suite.is_running(200 + at)) for at in (5, 15)]

    assert [seen, (True, True)] == found


def test_equal_seeds_give_equal_outcomes() -> None:
    """The flaky suite fails in the same runs again."""
    one, two = (make_suites(6, seed=3, agent_id=1, cluster_id=1)["6"].runs(9000) for _ in range(2))

    assert one == two
    assert {True, False} == {run.jobs_failed > 0 for run in one}


def test_the_default_suites_show_every_behaviour() -> None:
    """The default suites must show every behaviour: running, failed, passed, stopped and more."""
    suites = make_suites(8, seed=1, agent_id=1, cluster_id=1)

    assert ["4"] == [key for key, suite in suites.items() if suite.is_running(0)]
    assert suites["3"].runs(0)[-1].jobs_failed > 0
    assert 0 == suites["2"].runs(0)[-1].jobs_failed
    assert not suites["5"].healthy
    assert suites["7"].runs(0)[-1].stopped
    assert 0 == suites["8"].runs(0)[-1].jobs
