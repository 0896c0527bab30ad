from __future__ import annotations

import pytest

from exporter.simulator.blazemeter.runs import VERDICTS, LoadTest, Run, Verdict


def run_of(verdict: Verdict = "pass", engines: int = 1) -> Run:
    """Make a run that begins at 0."""
    test = LoadTest(test_id=1, name="t", workspace_id=1, verdicts=[verdict], engines=engines)
    return Run(master_id=1, number=1, test=test, started=0)


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        (0, "CREATE"),
        (9, "BOOT_STARTING"),
        (25, "INIT_SCRIPT"),
        (41, "DATA_RECEIVED"),
        (161, "TERMINATING"),
        (176, "ENDED"),
    ],
)
def test_a_run_boots_runs_and_ends(moment: float, name: str) -> None:
    """A run of two minutes passes through the phases of the vendor's sample."""
    assert name == run_of().least_phase(moment).name


def test_a_run_is_as_far_as_its_last_engine() -> None:
    """The second engine is two seconds behind, and the run with it."""
    run = run_of(engines=2)

    assert ("DATA_RECEIVED", "TAURUS_ENGINE_READY") == (
        run.phase(41).name,
        run.least_phase(41).name,
    )


@pytest.mark.parametrize(
    ("moment", "waits", "name"),
    [
        (30, False, "TAURUS_ENGINE_INIT"),
        (60, True, "TAURUS_ENGINE_READY"),
        (4100, False, "DATA_RECEIVED"),
    ],
)
def test_a_run_can_wait_for_its_start(moment: float, waits: bool, name: str) -> None:
    """For more than an hour its engines are ready, and then it goes on as always."""
    run = run_of()
    run.test.waits_seconds = 4020

    assert (waits, name) == (run.waits(moment), run.least_phase(moment).name)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_verdict_comes_late(verdict: Verdict) -> None:
    """A run must have no verdict in flight, `unset` right after its end, and then its own."""
    run = run_of(verdict)
    end = run.phases()[-1].at

    seen = [run.verdict(moment) for moment in (end - 1, end + 1, end + 30)]

    assert [None, "unset", verdict] == seen


def test_an_aborted_run_never_gets_data() -> None:
    """An abort happens during the boot."""
    assert 100 not in {phase.code for phase in run_of("abort").phases()}


def test_verdicts_take_turns() -> None:
    """A test can fail in one run, and be aborted in the next."""
    test = LoadTest(test_id=1, name="t", workspace_id=1, history=4, verdicts=["fail", "abort"])

    assert ["fail", "abort", "fail", "abort"] == [run.result for run in test.runs(0)]


def test_master_ids_are_unique() -> None:
    """No two runs of one account share an id."""
    tests = [LoadTest(test_id=14_000_001 + n, name="t", workspace_id=1) for n in range(6)]

    ids = [run.master_id for test in tests for run in test.runs(10_000)]

    assert len(ids) == len(set(ids))
