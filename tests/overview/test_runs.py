from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.fleet.readings import Run, Suite, SuiteRun
from exporter.overview.runs import runs_in_flight
from tests.web import fakes


if TYPE_CHECKING:
    from exporter.fleet.readings import Reading
    from exporter.overview.rows import RunRow


def flights(*readings: Reading) -> list[RunRow]:
    return runs_in_flight(fakes.FakeView(*readings).snapshots(), fakes.NOW)


def running_suite(run_id: str = "9") -> Suite:
    run = SuiteRun(run_id=run_id, start_timestamp_seconds=fakes.NOW.unix - 60)
    return Suite(suite_id="3", suite="nightly", current_run=run)


def test_a_run_of_its_own() -> None:
    """A run that is followed has its phase, its suite's name and a page."""
    run = Run(
        run_id="9",
        run="soak",
        phase="booting",
        suite_id="3",
        start_timestamp_seconds=fakes.NOW.unix - 30,
    )

    (found,) = flights(run, Suite(suite_id="3", suite="nightly"))

    assert ("soak", "booting", "nightly", 30.0, True) == (
        found.name,
        found.phase,
        found.suite,
        found.age_seconds,
        found.followed,
    )


def test_a_run_that_only_its_suite_tells_of() -> None:
    """Where runs are not followed one by one, a suite's current run is in flight."""
    (found,) = flights(running_suite())

    assert ("nightly", "running", 60.0, False) == (
        found.name,
        found.phase,
        found.age_seconds,
        found.followed,
    )


def test_no_run_is_told_twice() -> None:
    """What is followed knows better than the suite does, also that it has ended."""
    going = flights(Run(run_id="9", run="soak", phase="stopping"), running_suite())
    ended = flights(Run(run_id="9", run="soak", phase="ended"), running_suite())

    assert (["stopping"], []) == ([row.phase for row in going], ended)


def test_suites_without_ids_of_runs() -> None:
    """A vendor that does not name its runs does not make them one."""
    other = Suite(suite_id="4", suite="weekly", current_run=SuiteRun(run_id=""))

    assert 2 == len(flights(running_suite(run_id=""), other))


def test_order() -> None:
    """Runs stand by phase, the longest running first within it."""
    runs = [
        Run(run_id="1", run="young", phase="running", start_timestamp_seconds=200.0),
        Run(run_id="2", run="old", phase="running", start_timestamp_seconds=100.0),
        Run(run_id="3", run="new", phase="pending"),
        Run(run_id="4", run="odd", phase="a phase of tomorrow"),
    ]

    assert ["new", "old", "young", "odd"] == [row.name for row in flights(*runs)]
