from __future__ import annotations

from exporter.simulator.realload.suite_runs import Suite, make_suites


def test_runs_begin_by_the_schedule() -> None:
    """Every period one more run begins, and it is running for its duration."""
    suite = Suite(suite_id=2, name="s", place="m-1", period_seconds=300, latest_seconds=100)

    before, after = suite.runs(199), suite.runs(201)

    assert [1, 2, 3, 4, 5] == [run.run_id for run in before]
    assert (6, True) == (after[-1].run_id, after[-1].running)


def test_old_runs_are_forgotten() -> None:
    """The list stays bounded however long the simulation lives."""
    suite = Suite(suite_id=2, name="s", place="m-1")

    runs = suite.runs(10_000_000)

    assert 20 == len(runs)


def test_a_suite_without_history_never_runs() -> None:
    """The suite that is not healthy has no run, today and later."""
    assert [] == Suite(suite_id=2, name="s", place="m-1", history=0).runs(1e6)


def test_a_forced_outcome_shows() -> None:
    """A suite that is told to fail has failed jobs and sessions in its finished runs."""
    suite = Suite(suite_id=2, name="s", place="m-1", outcome="fail")

    run = suite.runs(0)[-1]

    assert run.jobs_failed > 0
    assert run.sessions_failed > 0
    assert suite.jobs == run.jobs_failed + run.jobs_passed


def test_equal_seeds_give_equal_outcomes() -> None:
    """The flaky suite fails in the same runs again."""
    one, two = (make_suites(6, seed=3, agent_id=1, cluster_id=1)["6"].runs(9000) for _ in range(2))

    assert one == two
    assert {True, False} == {run.jobs_failed > 0 for run in one}


def test_the_default_suites_show_every_life() -> None:
    """One runs now, one fails, one passes, one is not healthy."""
    suites = make_suites(6, seed=1, agent_id=1, cluster_id=1)

    assert ["4"] == [key for key, suite in suites.items() if suite.is_running(0)]
    assert suites["3"].runs(0)[-1].jobs_failed > 0
    assert 0 == suites["2"].runs(0)[-1].jobs_failed
    assert not suites["5"].healthy
