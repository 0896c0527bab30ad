"""Suites and runs: results run by run, what they cost, and what is in flight."""

from __future__ import annotations

from exporter.alerts.about import Uid
from exporter.dashboards import states
from exporter.dashboards.dashboard import Dashboard, other_runs, reloads, suite_runs
from exporter.dashboards.panels import Panels, Row, Stat, StateTimeline, StatusHistory, TimeSeries
from exporter.dashboards.query import Scope, by, either, labels_of, on
from exporter.dashboards.tables import Column, Table, link
from exporter.metrics import catalogue as c


_scope = Scope((*c.COMMON_LABELS, "suite", "run"))

_SUITE = labels_of(c.SUITE_RUNNING)
_RUN = labels_of(c.RUN_START)

_passed = _scope.each(c.SUITE_LAST_RUN_PASSED)
_SUITE_LEGEND = "{{suite}} ({{source}})"

_NUMBERS: Panels = {
    "Pass rate": Stat(
        "The share of suites whose newest run with a verdict has passed. 100 % is well.",
        query=f"avg({_passed})",
        unit="percentunit",
        steps=((None, states.RED), (0.9, states.ORANGE), (1, states.GREEN)),
    ),
    "Suites failed": Stat(
        "Suites whose newest run with a verdict did not pass.",
        query=f"sum({_passed} == bool 0)",
        steps=states.NONE_IS_BETTER,
    ),
    "Suites not runnable": Stat(
        "Suites that the vendor finds fault with (Real Load). 0 is well.",
        query=f"sum({_scope.each(c.SUITE_HEALTHY)} == bool 0)",
        steps=states.NONE_IS_WELL,
    ),
    "Suites running": Stat(
        "Suites with a run in flight.",
        query=f"sum({_scope.each(c.SUITE_RUNNING)})",
        steps=states.above(1, states.BLUE, states.GREEN),
    ),
}

_running = f"({_scope.each(c.SUITE_RUNNING)} == 1) * {states.RUNNING.value}"


def _jobs(result: str) -> str:
    return by("max", _SUITE, _scope.select(c.SUITE_LAST_RUN_JOBS, f'result="{result}"'))


_log_errors = by("sum", _SUITE, _scope.each(c.SUITE_LAST_RUN_LOG_EVENTS, 'level=~"error|fatal"'))
_RESULTS: Panels = {
    "Results run by run": StatusHistory(
        "Per suite the newest verdict, and in blue the runs in flight. A column of green is well;"
        " red is a run that failed, was not executed as a whole, or ended in an error or without"
        " data;"
        f" a run that was aborted changes nothing. From `{c.SUITE_LAST_RUN_PASSED.name}`"
        f" and `{c.SUITE_RUNNING.name}`.",
        queries={_SUITE_LEGEND: either(_running, _passed)},
        named=states.VERDICT,
        width=24,
        height=9,
        answers=("LoadFleetSuiteFailed",),
    ),
    "Newest finished runs": Table(
        "Each suite's newest finished run, and whether the vendor finds the suite runnable. The"
        f" name shows this suite alone. From `{c.SUITE_LAST_RUN_PASSED.name}` and its like.",
        columns=(
            Column("Verdict", _passed, named=states.VERDICT),
            Column(
                "Started before",
                f"time() - {_scope.each(c.SUITE_LAST_RUN_START)}",
                unit="dtdurations",
                steps=lambda limits: states.above(limits.suite_overdue, states.ORANGE),
            ),
            Column("Took", _scope.each(c.SUITE_LAST_RUN_DURATION), unit="s"),
            Column("Jobs passed", _jobs("passed")),
            Column("Jobs failed", _jobs("failed")),
            Column("Not executed", _jobs("not_executed")),
            Column("Errors in the log", _log_errors),
            Column("Most users", _scope.each(c.SUITE_LAST_RUN_MAX_USERS)),
            Column("Configuration", _scope.each(c.SUITE_HEALTHY), named=states.RUNNABLE),
        ),
        labels=("suite", "source"),
        hidden=("provider", "suite_id"),
        links={"suite": link(Uid.SUITES, "suite")},
        sort="Value #A",
        answers=("LoadFleetSuiteUnhealthy", "LoadFleetSuiteOverdue"),
    ),
}

_failed = by("max", _SUITE, _scope.select(c.SUITE_LAST_RUN_SAMPLES, 'result="failed"'))
_samples = by("sum", _SUITE, _scope.each(c.SUITE_LAST_RUN_SAMPLES))
_in_flight_jobs = by("sum", (*c.COMMON_LABELS, "result"), _scope.each(c.SUITE_CURRENT_RUN_JOBS))


def _job_samples(result: str) -> str:
    labels = labels_of(c.SUITE_LAST_RUN_TESTJOB_DURATION)
    samples = _scope.select(c.SUITE_LAST_RUN_TESTJOB_SAMPLES, f'result="{result}"')
    return by("max", labels, samples)


_NEWEST_RUNS: Panels = {
    "Pass rate by source": TimeSeries(
        "The share of suites whose newest run with a verdict has passed. 100 % is well.",
        queries={"{{source}} ({{provider}})": by("avg", c.COMMON_LABELS, _passed)},
        unit="percentunit",
    ),
    "Durations of runs": TimeSeries(
        "How long each suite's newest finished run took. Steady is well; longer runs may collide"
        " with the next.",
        queries={_SUITE_LEGEND: _scope.each(c.SUITE_LAST_RUN_DURATION)},
        unit="s",
    ),
    "Share of failed samples": TimeSeries(
        "Of the samples of each suite's newest finished run, how many failed. Near 0 is well.",
        queries={_SUITE_LEGEND: f"{_failed} / {_samples}"},
        unit="percentunit",
    ),
    "Durations of sessions and responses": TimeSeries(
        "How long a passed session of each suite's newest finished run took on average (Real Load),"
        " and its responses (BlazeMeter): the mean, and the time below which 90, 95 or 99 % stay."
        " Steady is well; what rises is the tested system getting slower.",
        queries={
            "{{suite}} session ({{source}})": _scope.each(c.SUITE_LAST_RUN_SESSION_MEAN),
            "{{suite}} response ({{source}})": _scope.each(c.SUITE_LAST_RUN_RESPONSE_MEAN),
            "{{suite}} {{percentile}} % ({{source}})": _scope.each(c.SUITE_LAST_RUN_RESPONSE),
        },
        unit="s",
    ),
    "Requests per second": TimeSeries(
        "The mean rate of requests of each suite's newest finished run (BlazeMeter). Less than"
        " usual is less load than planned.",
        queries={_SUITE_LEGEND: _scope.each(c.SUITE_LAST_RUN_REQUEST_RATE)},
    ),
    "Newest runs by outcome": TimeSeries(
        "What the suites' newest finished runs were. All `passed` is well; `incomplete` was not"
        " executed as a whole, `aborted` was stopped by a person, and `no_verdict` cannot be told.",
        queries={"{{outcome}}": by("sum", ("outcome",), _scope.each(c.SUITE_LAST_RUN_OUTCOME))},
        stacked=True,
        named=states.OUTCOME,
    ),
    "Peaks of users and pending samples": TimeSeries(
        "The most users, and samples that waited for their replies, of each suite's newest finished"
        " run. Pending samples near the users mean a tested system that hangs.",
        queries={
            "{{suite}} users ({{source}})": _scope.each(c.SUITE_LAST_RUN_MAX_USERS),
            "{{suite}} pending ({{source}})": _scope.each(c.SUITE_LAST_RUN_MAX_PENDING_SAMPLES),
        },
    ),
    "Jobs of the runs in flight": TimeSeries(
        "How the jobs of suites' runs in flight ended so far (Real Load); without a run in flight"
        " there is nothing.",
        queries={"{{result}} ({{source}})": _in_flight_jobs},
        stacked=True,
    ),
    "Jobs of the newest finished runs": Table(
        "Per job of each suite's newest finished run how long it took and what became of its"
        " samples (Real Load); the vendor has no verdict on a job. From"
        f" `{c.SUITE_LAST_RUN_TESTJOB_DURATION.name}` and"
        f" `{c.SUITE_LAST_RUN_TESTJOB_SAMPLES.name}`.",
        columns=(
            Column("Took", _scope.each(c.SUITE_LAST_RUN_TESTJOB_DURATION), unit="s"),
            Column("Samples passed", _job_samples("passed")),
            Column("Samples failed", _job_samples("failed"), steps=states.NONE_IS_BETTER),
        ),
        labels=("testjob", "suite", "source"),
        hidden=("provider", "suite_id", "testjob_id"),
        sort="-Value #C",
        height=8,
    ),
}


def _phase_codes(*, ended: bool) -> str:
    """Return the query for the codes of `states.PHASE`, one series per run."""
    phases = [state for state in states.PHASE if ended or state.word != "ended"]
    coded = (
        f"""{_scope.select(c.RUN_PHASE, f'phase="{state.word}"')} * {state.value}"""
        for state in phases
    )
    return by("max", _RUN, either(*coded))


_phase = f"{_phase_codes(ended=False)} > 0"
_in_flight = f"{on(_RUN)} ({_phase})"
_severe = 'level=~"error|critical|alert|emergency"'
_RUNS: Panels = {
    "Runs in flight and just ended": Row(),
    "Runs in flight": Table(
        "Every run that has not ended, its phase, and how long ago it was started; orange are times"
        " by which it should be running. Red are runs that no engine executes, and internal errors"
        f" (Eggplant). From `{c.RUN_PHASE.name}` and `{c.RUN_START.name}`.",
        columns=(
            Column("Phase", _phase, named=states.PHASE),
            Column(
                "Started before",
                f"time() - {_scope.each(c.RUN_START)} and {_in_flight}",
                unit="dtdurations",
                steps=lambda limits: states.above(limits.run_stuck, states.ORANGE),
            ),
            Column("Engines", f"{_scope.each(c.RUN_ENGINES)} and {_in_flight}"),
            Column("Planned", f"{_scope.each(c.RUN_ENGINES_PLANNED)} and {_in_flight}"),
            Column(
                "Waits",
                f"{_scope.each(c.RUN_DELAYED_START)} and {_in_flight}",
                named=states.WAITING,
            ),
            Column(
                "Complaint",
                f"{_scope.each(c.RUN_INTERNAL_ERROR)} and {_in_flight}",
                named=states.COMPLAINT,
            ),
        ),
        labels=("run", "run_id", "source"),
        hidden=("provider",),
        sort="-Value #B",
        empty="No run is in flight, as far as is known.",
        width=12,
        answers=("LoadFleetRunStuck", "LoadFleetRunInternalError"),
    ),
    "Runs that ended": Table(
        "Runs that ended within `run_linger`: outcome, worst exit code of the engines (0 is well),"
        " whether one was lost or ended in an error, and events of level error and above"
        f" (BlazeMeter). From `{c.RUN_PASSED.name}`,"
        f" `{c.RUN_EXIT_CODE.name}` and `{c.RUN_EVENTS.name}`.",
        columns=(
            Column("Verdict", _scope.each(c.RUN_PASSED), named=states.VERDICT),
            Column("Ended", f"{_scope.each(c.RUN_END)} * 1000", unit="dateTimeFromNow"),
            Column("Exit code", _scope.each(c.RUN_EXIT_CODE)),
            Column("Engines", _scope.each(c.RUN_ENGINE_ERRORS), named=states.ENGINES),
            Column("Errors", by("sum", _RUN, _scope.each(c.RUN_EVENTS, _severe))),
            Column("Outcome", _scope.each(c.RUN_OUTCOME), hidden=True),
        ),
        labels=("run", "run_id", "source", "outcome"),
        hidden=("provider",),
        sort="-Value #B",
        width=12,
        answers=("LoadFleetRunFailed", "LoadFleetRunEngineErrors"),
    ),
}

_share = _scope.each(c.RUN_ENGINES_RATIO, 'phase!="ended"')
_engines = f"{_share} * {on(_RUN)} group_left () {_scope.each(c.RUN_ENGINES)}"
_PHASES: Panels = {
    "Phases of runs": StateTimeline(
        "Each run from its start to its end. Blue is a run that generates load; much before it is"
        " time lost in preparation.",
        queries={"{{run}} {{run_id}} ({{source}})": _phase_codes(ended=True)},
        named=states.PHASE,
    ),
    "Runs by phase": TimeSeries(
        "How many runs are in each phase. Those that pile up before `running` wait for engines.",
        queries={"{{phase}}": by("sum", ("phase",), _scope.each(c.RUN_PHASE, 'phase!="ended"'))},
        stacked=True,
        named=states.PHASE,
    ),
    "Engines by phase": TimeSeries(
        "How many engines the runs in flight have, by what these are doing (BlazeMeter). Compare"
        f" with what the account allows. From `{c.RUN_ENGINES.name}` and"
        f" `{c.RUN_ENGINES_RATIO.name}`.",
        queries={"{{phase}}": by("sum", ("phase",), _engines)},
        stacked=True,
        named=states.PHASE,
    ),
    "Durations of phases": TimeSeries(
        "How long the runs that ended a short while ago were in each phase, on average"
        " (BlazeMeter). All but `running` is preparation and clearing up; steady is well.",
        queries={"{{phase}}": by("avg", ("phase",), _scope.each(c.RUN_PHASE_DURATION))},
        unit="s",
        named=states.PHASE,
    ),
}

DASHBOARD = Dashboard(
    uid=Uid.SUITES,
    title="Load test fleet: suites and runs",
    description="Do the tests pass, how long do they take, and what is running?",
    variables={"suite": c.SUITE_RUNNING, "run": c.RUN_INFO},
    annotations=(suite_runs(_scope), other_runs(_scope), reloads(_scope)),
    since="now-24h",
    sections=(_NUMBERS, _RESULTS, _NEWEST_RUNS, _RUNS, _PHASES),
)
