"""The rows of the table about what is executed: suites and single runs.

Agents and the like are down for a while; a run that did not pass stays so. What counts is that one
fault is told once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts.expression import Age, Match, select
from exporter.alerts.rule import PREFIX, SOURCE, Rule, Severity
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.alerts.thresholds import Thresholds


# The phases of a run in which it does not generate load yet.
_PREPARING = ("pending", "booting", "downloading", "ready")


def about_suites(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the rows about suites."""
    yield Rule(
        f"{PREFIX}SuiteFailed",
        Severity.WARNING,
        select(c.SUITE_LAST_RUN_PASSED).compared("==", 0),
        "The newest run of a suite that has a verdict did not pass.",
        "The newest run of suite {suite} (id {suite_id}) of source {source} that has a verdict did"
        " not pass: it failed, was not executed as a whole, or ended in an error or without data."
        " The alert ends with the next run that passes; one that is aborted does not end it.",
    )
    yield Rule(
        f"{PREFIX}SuiteUnhealthy",
        Severity.WARNING,
        select(c.SUITE_HEALTHY).compared("==", 0),
        "A suite cannot be run as it is configured.",
        "Suite {suite} (id {suite_id}) of source {source} is not runnable: the vendor finds"
        " fault with its configuration or with what it needs.",
    )
    if thresholds.suite_overdue is not None:
        due = Age(of=select(c.SUITE_LAST_RUN_START)).compared(">", thresholds.suite_overdue)
        running = select(c.SUITE_RUNNING).compared("==", 1)
        yield Rule(
            f"{PREFIX}SuiteOverdue",
            Severity.WARNING,
            due.where("unless", running, *SOURCE, "suite_id"),
            "A suite has not run for too long.",
            "The newest finished run of suite {suite} (id {suite_id}) of source {source} started"
            " {value:humanizeDuration} ago and none is in flight.",
        )


def about_runs(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the rows about single runs."""
    # A run that did not pass has its alert; what led to that is no second one.
    failed = select(c.RUN_PASSED).compared("==", 0)
    internal = select(c.RUN_INTERNAL_ERROR).compared("==", 1)
    aborted = select(c.RUN_OUTCOME, Match(label="outcome", values=("aborted",))).compared("==", 1)
    yield Rule(
        f"{PREFIX}RunFailed",
        Severity.WARNING,
        failed,
        "A run ended and did not pass.",
        "Run {run} (id {run_id}) of source {source} did not pass: it failed, was not executed as a"
        " whole, or ended in an error or without data.",
    )
    yield Rule(
        f"{PREFIX}RunEngineErrors",
        Severity.WARNING,
        select(c.RUN_ENGINE_ERRORS)
        .compared("==", 1)
        .where("unless", failed, *SOURCE, "run_id")
        .where("unless", aborted, *SOURCE, "run_id"),
        "A run lost an engine, or one ended in an error, and the run has not failed.",
        "Run {run} (id {run_id}) of source {source} has not failed, but an engine of it was lost or"
        " ended in an error: it may have had less load than planned, so that its times look too"
        " good.",
    )
    yield Rule(
        f"{PREFIX}RunInternalError",
        Severity.WARNING,
        internal.where("unless", failed, *SOURCE, "run_id"),
        "The engine of a run tells of an internal error.",
        "The newest log line of run {run} (id {run_id}) of source {source} tells of an internal"
        " error, whatever its state says.",
    )
    if thresholds.run_stuck is None:
        return
    age = Age(of=select(c.RUN_START))
    preparing = select(c.RUN_PHASE, Match(label="phase", values=_PREPARING)).compared("==", 1)
    idle = select(c.RUN_PHASE, Match(label="phase", values=("stuck",))).compared("==", 1)
    waiting = select(c.RUN_DELAYED_START).compared("==", 1)
    yield Rule(
        f"{PREFIX}RunStuck",
        Severity.WARNING,
        age.compared(">", thresholds.run_stuck)
        .where("and", preparing, *SOURCE, "run_id")
        .where("unless", waiting, *SOURCE, "run_id")
        # Nothing will execute such a run, however short ago it was started. Why, an internal error
        # tells.
        .either(
            age.compared(">", 0)
            .where("and", idle, *SOURCE, "run_id")
            .where("unless", internal, *SOURCE, "run_id")
        ),
        "A run that was started generates no load.",
        "Run {run} (id {run_id}) of source {source} was started {value:humanizeDuration} ago and"
        " generates no load: it is still being prepared, or no engine executes it.",
    )
