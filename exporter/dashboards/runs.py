"""The panels on runs in flight and on those that ended a short while ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts.rule import PREFIX
from exporter.dashboards import states
from exporter.dashboards.charts import StateTimeline, TimeSeries
from exporter.dashboards.panels import Panel, Target, above
from exporter.dashboards.query import by, either
from exporter.dashboards.tables import Column, Table
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS


if TYPE_CHECKING:
    from exporter.dashboards.dashboard import Context
    from exporter.dashboards.query import Scope


_RUN = (*COMMON_LABELS, *c.RUN_START.labels)
_LABELS = {"run": "Run", "run_id": "Run id", "source": "Source"}


def rows(scope: Scope, context: Context) -> tuple[tuple[Panel, ...], ...]:
    """Return the panels, row by row."""
    return (
        (_in_flight(scope, context), _ended(scope, context)),
        (_phases(scope), _by_phase(scope)),
        (_engines(scope), _preparation(scope)),
    )


def _code(scope: Scope, *, ended: bool) -> str:
    """Return the query for the codes of `states.PHASE`, one series per run."""
    phases = [state for state in states.PHASE if ended or state.word != "ended"]
    coded = (f"{scope.select(c.RUN_PHASE, _phase(state))} * {state.code}" for state in phases)
    return by("max", _RUN, either(*coded))


def _phase(state: states.State) -> str:
    return f'phase="{state.word}"'


def _in_flight(scope: Scope, context: Context) -> Panel:
    stuck = context.thresholds.run_stuck
    on = f"on ({', '.join(_RUN)})"
    code = f"{_code(scope, ended=False)} > 0"
    return Table(
        title="Runs in flight",
        description="Every run that has not ended, its phase, and how long ago it was started;"
        f" orange are times by which it should be running. From `{c.RUN_PHASE.name}` and"
        f" `{c.RUN_START.name}`.",
        columns=(
            Column(title="Phase", expression=code, named=states.PHASE),
            Column(
                title="Started before",
                expression=f"time() - {scope.each(c.RUN_START)} and {on} ({code})",
                unit="dtdurations",
                steps=above(stuck, states.ORANGE),
            ),
            Column(
                title="Engines",
                expression=f"{scope.each(c.RUN_ENGINES)} and {on} ({code})",
                unit="none",
            ),
        ),
        labels=_LABELS,
        hidden=("provider",),
        sort="-Value #B",
        empty="No run is in flight, as far as is known.",
        width=12,
        answers=context.answers(f"{PREFIX}RunStuck"),
    )


def _ended(scope: Scope, context: Context) -> Panel:
    severe = 'level=~"error|critical|alert|emergency"'
    events = by("sum", _RUN, scope.each(c.RUN_EVENTS, severe))
    return Table(
        title="Runs that ended",
        description="Runs that ended within `run_linger`: verdict, worst exit code of the engines"
        " (0 is well), and events of level error and above (BlazeMeter). From"
        f" `{c.RUN_PASSED.name}`, `{c.RUN_EXIT_CODE.name}` and `{c.RUN_EVENTS.name}`.",
        columns=(
            Column(title="Verdict", expression=scope.each(c.RUN_PASSED), named=states.VERDICT),
            Column(
                title="Ended",
                expression=f"{scope.each(c.RUN_END)} * 1000",
                unit="dateTimeFromNow",
            ),
            Column(title="Exit code", expression=scope.each(c.RUN_EXIT_CODE), unit="none"),
            Column(title="Errors", expression=events, unit="none"),
        ),
        labels=_LABELS,
        hidden=("provider",),
        sort="-Value #B",
        width=12,
        answers=context.answers(f"{PREFIX}RunFailed"),
    )


def _phases(scope: Scope) -> Panel:
    return StateTimeline(
        title="Phases of runs",
        description="Each run from its start to its end. Blue is a run that generates load; much"
        f" before it is time lost in preparation. From `{c.RUN_PHASE.name}`.",
        target=Target(_code(scope, ended=True), "{{run}} {{run_id}} ({{source}})"),
        named=states.PHASE,
    )


def _by_phase(scope: Scope) -> Panel:
    phases = scope.each(c.RUN_PHASE, 'phase!="ended"')
    return TimeSeries(
        title="Runs by phase",
        description="How many runs are in each phase. Those that pile up before `running` wait for"
        f" engines. From `{c.RUN_PHASE.name}`.",
        targets=(Target(by("sum", ("phase",), phases), "{{phase}}"),),
        unit="none",
        stacked=True,
        colours=states.colours(states.PHASE),
    )


def _engines(scope: Scope) -> Panel:
    share = scope.each(c.RUN_ENGINES_RATIO, 'phase!="ended"')
    engines = f"{share} * on ({', '.join(_RUN)}) group_left () {scope.each(c.RUN_ENGINES)}"
    return TimeSeries(
        title="Engines by phase",
        description="How many engines the runs in flight have, by what these are doing"
        f" (BlazeMeter). Compare with what the account allows. From `{c.RUN_ENGINES.name}` and"
        f" `{c.RUN_ENGINES_RATIO.name}`.",
        targets=(Target(by("sum", ("phase",), engines), "{{phase}}"),),
        unit="none",
        stacked=True,
        colours=states.colours(states.PHASE),
    )


def _preparation(scope: Scope) -> Panel:
    durations = scope.each(c.RUN_PHASE_DURATION)
    return TimeSeries(
        title="Durations of phases",
        description="How long the runs that ended a short while ago were in each phase, on average"
        " (BlazeMeter). All but `running` is preparation and clearing up; steady is well. From"
        f" `{c.RUN_PHASE_DURATION.name}`.",
        targets=(Target(by("avg", ("phase",), durations), "{{phase}}"),),
        unit="s",
        colours=states.colours(states.PHASE),
    )
