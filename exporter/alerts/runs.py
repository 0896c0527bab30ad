"""The alerts about tests: preflights of tests to come, suites and single runs.

A machine that is down recovers, but a run that did not pass never passes. So the conditions ensure
that one fault causes one alert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts import about
from exporter.alerts.evidence import SOURCE
from exporter.alerts.expression import Age, Match, merged, select
from exporter.alerts.rule import PREFIX, Rule, Severity
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.alerts.thresholds import Thresholds


_SUITE = (*SOURCE, "suite_id")

# The phases of a run in which it does not generate load yet.
_PREPARING = ("pending", "booting", "downloading", "ready")

# Seconds by which a run must exceed the usual duration, besides the factor in the thresholds. A
# suite of one minute easily takes two, and an ended run counts as in flight until the next poll.
_SLOWER_SECONDS, _LONGER_SECONDS = 30.0, 120.0

_BECAME, _ENDED = " Its newest finished run: {}.", " That run ended at {}."

_STARTED = " Its newest run started at {}."

_RUNS_SINCE = " That run started at {}."

# Long enough to bridge a blip in the readings, short enough for short windows.
_UNFIT_HOLD_SECONDS = 120.0


def about_preflights() -> Iterator[Rule]:
    """Yield the alert about preflights, the checks before a test."""
    # Of several exporters, those without a result do not count, and one failed preflight decides.
    fit = select(own.PREFLIGHT_READY).merged("min").compared("==", 1)
    yield Rule(
        f"{PREFIX}NotFit",
        # The window is the time in which the fleet can still be repaired.
        Severity.CRITICAL,
        merged(own.PREFLIGHT_DUE).compared("==", 1).where("unless", fit, own.PREFLIGHT),
        "The fleet is not known to be fit for a test that begins soon.",
        "Preflight {preflight} does not pass: a check fails, or it is not known whether all pass.",
        about.PREFLIGHT,
        hold_seconds=_UNFIT_HOLD_SECONDS,
    )


def about_suites(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the alerts about suites."""
    yield Rule(
        f"{PREFIX}SuiteFailed",
        Severity.WARNING,
        merged(c.SUITE_LAST_RUN_PASSED).compared("==", 0),
        "A suite did not pass in its newest run with a verdict.",
        "Suite {suite} (id {suite_id}) of source {source} did not pass in its newest run with a"
        " verdict.",
        about.SUITE,
        # A verdict does not flap, and each failure is reported.
        hold_seconds=0,
        keep_seconds=0,
        details=(
            about.outcome(c.SUITE_LAST_RUN_OUTCOME, "suite_id", text=_BECAME),
            about.since(c.SUITE_LAST_RUN_END, "suite_id", text=_ENDED),
        ),
    )
    yield Rule(
        f"{PREFIX}SuiteUnhealthy",
        Severity.WARNING,
        merged(c.SUITE_HEALTHY).compared("==", 0),
        "A suite cannot be run as it is configured.",
        "Suite {suite} (id {suite_id}) of source {source} is not runnable: the vendor reports a"
        " fault in its configuration or in a resource that it needs.",
        about.SUITE,
    )
    if thresholds.suite_overdue is not None:
        due = Age(of=merged(c.SUITE_LAST_RUN_START)).compared(">", thresholds.suite_overdue)
        running = select(c.SUITE_RUNNING).compared("==", 1)
        yield Rule(
            f"{PREFIX}SuiteOverdue",
            Severity.WARNING,
            due.where("unless", running, *_SUITE),
            "A suite has not run for too long.",
            "Suite {suite} (id {suite_id}) of source {source} has not run for too long, and no run"
            " is in flight.",
            about.SUITE,
            details=(about.since(c.SUITE_LAST_RUN_START, "suite_id", text=_STARTED),),
        )

    yield from _slow(thresholds)


def _slow(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the alerts about runs that take longer than usual."""
    usual = merged(c.SUITE_BASELINE_DURATION)
    passed = Match(label="outcome", values=("passed",))
    usually = about.lasting(c.SUITE_BASELINE_DURATION, "suite_id", text=" Usually it takes {}.")
    yield Rule(
        f"{PREFIX}SuiteSlower",
        Severity.WARNING,
        merged(c.SUITE_LAST_RUN_DURATION)
        .compared(">", usual.times(thresholds.slower_than_usual))
        .compared(">", usual.plus(_SLOWER_SECONDS))
        .where("and", select(c.SUITE_LAST_RUN_OUTCOME, passed).compared("==", 1), *_SUITE),
        "A suite passed, but took much longer than usual.",
        "Suite {suite} (id {suite_id}) of source {source} passed, but took much longer than usual.",
        about.SUITE,
        # As for a verdict.
        hold_seconds=0,
        keep_seconds=0,
        details=(
            about.lasting(c.SUITE_LAST_RUN_DURATION, "suite_id", text=" It took {}."),
            usually,
            about.since(c.SUITE_LAST_RUN_END, "suite_id", text=_ENDED),
        ),
    )
    # A run that does not (or no longer) generate load has its own alert (`RunStuck`).
    idle = select(c.RUN_PHASE, Match(label="phase", values=(*_PREPARING, "stuck")))
    stuck = select(c.RUN_INFO).where("and", idle.compared("==", 1), *SOURCE, "run_id")
    yield Rule(
        f"{PREFIX}SuiteTooLong",
        Severity.WARNING,
        Age(of=merged(c.SUITE_CURRENT_RUN_START))
        .compared(">", usual.times(thresholds.longer_than_usual))
        .compared(">", usual.plus(_LONGER_SECONDS))
        .where("and", select(c.SUITE_RUNNING).compared("==", 1), *_SUITE)
        .where("unless", stuck, *_SUITE),
        "A suite's run is in flight for much longer than usual.",
        "A run of suite {suite} (id {suite_id}) of source {source} is in flight for much longer"
        " than usual.",
        about.SUITE,
        # The duration of a run does not flap.
        hold_seconds=0,
        details=(usually, about.since(c.SUITE_CURRENT_RUN_START, "suite_id", text=_RUNS_SINCE)),
    )


def about_runs(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the alerts about single runs."""
    # A run that did not pass has the alert `RunFailed`, and its cause needs no second one.
    failed = select(c.RUN_PASSED).compared("==", 0)
    # A run whose suite has a verdict is covered by `SuiteFailed`.
    verdict = select(c.SUITE_LAST_RUN_PASSED)
    covered = select(c.RUN_INFO).where("and", verdict, *SOURCE, "suite_id")
    internal = select(c.RUN_INTERNAL_ERROR).compared("==", 1)
    aborted = select(c.RUN_OUTCOME, Match(label="outcome", values=("aborted",))).compared("==", 1)
    yield Rule(
        f"{PREFIX}RunFailed",
        Severity.WARNING,
        merged(c.RUN_PASSED).compared("==", 0).where("unless", covered, *SOURCE, "run_id"),
        "A run ended and did not pass.",
        "Run {run} (id {run_id}) of source {source} did not pass.",
        about.RUN,
        hold_seconds=0,
        keep_seconds=0,
        details=(
            about.outcome(c.RUN_OUTCOME, "run_id", text=" Outcome: {}."),
            *about.RUN.details,
        ),
    )
    yield Rule(
        f"{PREFIX}RunEngineErrors",
        Severity.WARNING,
        merged(c.RUN_ENGINE_ERRORS)
        .compared("==", 1)
        .where("unless", failed, *SOURCE, "run_id")
        .where("unless", aborted, *SOURCE, "run_id"),
        "A run has not failed, but one of its engines was lost or ended in an error.",
        "Run {run} (id {run_id}) of source {source} has not failed, but one of its engines was lost"
        " or ended in an error. The run may have had less load than planned, so its response times"
        " look too good.",
        about.RUN,
    )
    yield Rule(
        f"{PREFIX}RunInternalError",
        Severity.WARNING,
        merged(c.RUN_INTERNAL_ERROR).compared("==", 1).where("unless", failed, *SOURCE, "run_id"),
        "The engine of a run reports an internal error.",
        "The newest log line of run {run} (id {run_id}) of source {source} reports an internal"
        " error, whatever the run's state.",
        about.RUN,
    )
    if thresholds.run_stuck is None:
        return
    age = Age(of=merged(c.RUN_START))
    preparing = select(c.RUN_PHASE, Match(label="phase", values=_PREPARING)).compared("==", 1)
    idle = merged(c.RUN_PHASE, Match(label="phase", values=("stuck",))).merged("max", "phase")
    waiting = select(c.RUN_DELAYED_START).compared("==", 1)
    yield Rule(
        f"{PREFIX}RunStuck",
        Severity.WARNING,
        age.compared(">", thresholds.run_stuck)
        .where("and", preparing, *SOURCE, "run_id")
        .where("unless", waiting, *SOURCE, "run_id")
        # No engine will ever execute a stuck run, so its age does not matter. An internal error
        # has an alert of its own.
        .either(idle.compared("==", 1).where("unless", internal, *SOURCE, "run_id")),
        "A run that was started generates no load.",
        "Run {run} (id {run_id}) of source {source} generates no load: it is still being prepared,"
        " or no engine executes it.",
        about.RUN,
    )
