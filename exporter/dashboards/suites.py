"""The dashboard about suites and runs: results run by run, durations, and runs in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.alerts.about import Uid
from exporter.dashboards import panels as p
from exporter.dashboards import query as q
from exporter.dashboards import states as s
from exporter.dashboards.dashboard import RELOADS, RUNS, SUITES, Dashboard
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from exporter.alerts.thresholds import Thresholds


_SUITE = "{{suite}} ({{source}})"
_passed = q.each(c.SUITE_LAST_RUN_PASSED)
_running = f"({q.each(c.SUITE_RUNNING)} == 1) * {s.RUNNING.value}"
_suite = q.on((*c.COMMON_LABELS, "suite_id"))
_last = f"topk({q.MANY}, {q.at_end(c.SUITE_LAST_RUN_START)})"
_results = f"({q.either(_running, _passed)}) and {_suite} {_last}"
_started = q.each(c.SUITE_LAST_RUN_START)
_recent = f"topk({q.MANY}, {_started})"
_usual = q.each(c.SUITE_BASELINE_DURATION)
_of_usual = f"{q.each(c.SUITE_LAST_RUN_DURATION)} / {_usual}"
_in_flight = f"(time() - {q.each(c.SUITE_CURRENT_RUN_START)}) / {_usual}"
_slowest = f"topk({q.SOME}, {q.at_end(c.SUITE_LAST_RUN_DURATION)})"
_severe = 'level=~"error|fatal"'
_log_errors = q.merged(q.each(c.SUITE_LAST_RUN_LOG_EVENTS, _severe), "level", how="sum")
_samples = q.merged(q.each(c.SUITE_LAST_RUN_SAMPLES), "result", how="sum")
_share_failed = f"{q.only(c.SUITE_LAST_RUN_SAMPLES, 'result', 'failed')} / {_samples}"

# A run has a series per phase, of which one is 1 and the others are 0.
_phases = {
    state.word: f"""{q.select(c.RUN_PHASE, f'phase="{state.word}"')} * {state.value}"""
    for state in s.PHASE
}
_every_phase = q.merged(q.either(*_phases.values()), "phase")
_run = q.on((*c.COMMON_LABELS, "run_id"))
_newest_runs = f"{_every_phase} and {_run} topk({q.MANY}, {q.at_end(c.RUN_START)})"
_before_end = (phase for word, phase in _phases.items() if word != "ended")
_phase = f"topk({q.MANY}, {q.merged(q.either(*_before_end), 'phase')} > 0)"
_now = f"and {_run} ({_phase})"
_errors = 'level=~"error|critical|alert|emergency"'
_going = 'phase!="ended"'
_engines = f"{q.each(c.RUN_ENGINES_RATIO, _going)} * {_run} group_left () {q.each(c.RUN_ENGINES)}"


def _of_recent(title: str, query: str, *more: Any, **given: Any) -> p.Column:
    return p.Column(title, f"{query} and {_suite} {_recent}", *more, **given)


def _jobs(result: str) -> str:
    return q.only(c.SUITE_LAST_RUN_JOBS, "result", result)


_job = q.on((*c.COMMON_LABELS, "suite_id", "testjob_id"))
_longest = f"topk({q.MANY}, {q.each(c.SUITE_LAST_RUN_TESTJOB_DURATION)})"


def _job_samples(result: str) -> str:
    return q.only(c.SUITE_LAST_RUN_TESTJOB_SAMPLES, "result", result)


def board(limits: Thresholds) -> Dashboard:
    """Return the dashboard, coloured by the alerts' thresholds."""
    panels = (
        p.stat("Pass rate", f"avg({_passed})", steps=s.ALL_IS_WELL, unit="percentunit", w=6),
        p.stat("Suites failed", f"sum({_passed} == bool 0)", steps=s.NONE_IS_BETTER, w=6),
        p.stat("Not runnable", f"sum({q.each(c.SUITE_HEALTHY)} == bool 0)",
            steps=s.NONE_IS_WELL, w=6),
        p.stat("Suites running", f"sum({q.each(c.SUITE_RUNNING)})",
            steps=s.above(1, s.BLUE, s.GREEN), w=6),
        p.history("Results run by run", {_SUITE: _results}, named=s.VERDICT,
            answers="SuiteFailed"),
        p.table("Newest finished runs", "suite source",
            _of_recent("Verdict", _passed, named=s.VERDICT),
            _of_recent("Age", f"time() - {_started}", "dtdurations",
                (), s.above(limits.suite_overdue, s.ORANGE)),
            _of_recent("Took", q.each(c.SUITE_LAST_RUN_DURATION), "s"),
            _of_recent("Of usual", _of_usual, "percentunit",
                (), s.above(limits.slower_than_usual, s.ORANGE)),
            _of_recent("In flight", _in_flight, "percentunit",
                (), s.above(limits.longer_than_usual, s.ORANGE)),
            _of_recent("Passed", _jobs("passed")), _of_recent("Failed", _jobs("failed")),
            _of_recent("Not run", _jobs("not_executed")),
            _of_recent("Errors", _log_errors),
            _of_recent("Users", q.each(c.SUITE_LAST_RUN_MAX_USERS)),
            _of_recent("Setup", q.each(c.SUITE_HEALTHY), named=s.RUNNABLE),
            links=(p.details(Uid.SUITES, "suite"), p.page("suite", "suite_id")), sort="A",
            answers="SuiteUnhealthy SuiteOverdue SuiteSlower SuiteTooLong", w=24, h=9),
        p.series("Pass rate by source",
            {"{{source}} ({{provider}})": q.by("avg", c.COMMON_LABELS, _passed)}, "percentunit"),
        p.series("Newest runs by outcome",
            {"{{outcome}}": q.by("sum", ("outcome",), q.each(c.SUITE_LAST_RUN_OUTCOME))},
            stacked=True, named=s.OUTCOME),
        p.series("Durations of sessions and responses",
            {
                "{{suite}} session ({{source}})": q.highest(c.SUITE_LAST_RUN_SESSION_MEAN),
                "{{suite}} response ({{source}})": q.highest(c.SUITE_LAST_RUN_RESPONSE_MEAN),
                "{{suite}} {{percentile}} % ({{source}})": q.highest(c.SUITE_LAST_RUN_RESPONSE),
            },
            "s"),
        p.series("Share of failed samples", {_SUITE: f"topk({q.SOME}, {_share_failed})"},
            "percentunit"),
        p.series("Requests per second", {_SUITE: q.highest(c.SUITE_LAST_RUN_REQUEST_RATE)}),
        p.series("Peaks of users and pending samples",
            {
                "{{suite}} users ({{source}})": q.highest(c.SUITE_LAST_RUN_MAX_USERS),
                "{{suite}} pending ({{source}})": q.highest(c.SUITE_LAST_RUN_MAX_PENDING_SAMPLES),
            }),
        p.series("Durations of runs",
            {
                _SUITE: q.highest(c.SUITE_LAST_RUN_DURATION),
                "{{suite}} usually ({{source}})": f"{_usual} and {_suite} {_slowest}",
            },
            "s", overrides=(p.override(r" usually \(", by="byRegexp", **p.DASHED),)),
        p.series("Jobs of the runs in flight",
            {"{{result}} ({{source}})": q.by("sum", (*c.COMMON_LABELS, "result"),
                q.each(c.SUITE_CURRENT_RUN_JOBS))},
            stacked=True),
        p.table("Jobs of the newest finished runs", "testjob suite source",
            *(
                p.Column(title, f"{query} and {_job} {_longest}", unit, (), steps)
                for title, query, unit, steps in (
                    ("Took", q.each(c.SUITE_LAST_RUN_TESTJOB_DURATION), "s", ()),
                    ("Samples passed", _job_samples("passed"), "none", ()),
                    ("Samples failed", _job_samples("failed"), "none", s.NONE_IS_BETTER),
                )
            ),
            sort="-C", w=24),
        p.heading("Runs in flight and just ended"),
        p.table("Runs in flight", "run run_id source", p.Column("Phase", _phase, named=s.PHASE),
            p.Column("Age", f"time() - {q.each(c.RUN_START)} {_now}", "dtdurations",
                (), s.above(limits.run_stuck, s.ORANGE)),
            p.Column("Engines", f"{q.each(c.RUN_ENGINES)} {_now}"),
            p.Column("Planned", f"{q.each(c.RUN_ENGINES_PLANNED)} {_now}"),
            p.Column("Waits", f"{q.each(c.RUN_DELAYED_START)} {_now}", named=s.WAITING),
            p.Column("Complaint", f"{q.each(c.RUN_INTERNAL_ERROR)} {_now}", named=s.COMPLAINT),
            links=(p.page("run", "run_id"),), sort="-B",
            empty="No run is in flight, as far as is known.", w=24,
            answers="RunStuck RunInternalError"),
        p.table("Runs that ended", "run run_id source outcome",
            p.Column("Verdict", q.each(c.RUN_PASSED), named=s.VERDICT),
            p.Column("Ended", f"{q.each(c.RUN_END)} * 1000", "dateTimeFromNow"),
            p.Column("Exit code", q.each(c.RUN_EXIT_CODE)),
            p.Column("Engines", q.each(c.RUN_ENGINE_ERRORS), named=s.ENGINES),
            p.Column("Errors", q.merged(q.each(c.RUN_EVENTS, _errors), "level", how="sum")),
            p.Column("Outcome", q.each(c.RUN_OUTCOME), hidden=True),
            links=(p.page("run", "run_id"),), sort="-B", w=24, answers="RunFailed RunEngineErrors"),
        p.timeline("Phases of runs", {"{{run}} {{run_id}} ({{source}})": _newest_runs},
            named=s.PHASE),
        p.series("Runs by phase",
            {"{{phase}}": q.by("sum", ("phase",), q.each(c.RUN_PHASE, _going))}, stacked=True,
            named=s.PHASE),
        p.series("Engines by phase", {"{{phase}}": q.by("sum", ("phase",), _engines)}, stacked=True,
            named=s.PHASE),
        p.series("Durations of phases",
            {"{{phase}}": q.by("avg", ("phase",), q.each(c.RUN_PHASE_DURATION))}, "s",
            named=s.PHASE),
    )  # fmt: skip
    return Dashboard(
        uid=Uid.SUITES,
        title="Load test fleet: suites and runs",
        description="Do the tests pass, how long do they take, and what is running?",
        variables={"suite": c.SUITE_RUNNING, "run": c.RUN_INFO},
        marks=(SUITES, RUNS, RELOADS),
        since="now-24h",
        panels=panels,
    )
