"""A history for every alert about a target, evaluated by Prometheus itself."""

from __future__ import annotations

import itertools
from collections import defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest

from exporter.alerts.formats import RulesOptions, rules_file
from exporter.alerts.table import NAMES
from exporter.alerts.thresholds import RUNBOOK_URL
from tests.rules.histories import (
    STEP,
    History,
    Phase,
    duration,
    failures,
    group,
    input_series,
    labelled,
)
from tests.rules.machines import MACHINES
from tests.rules.others import OTHERS
from tests.rules.pairs import GONE_OF_A_PAIR, PAIRS
from tests.rules.specials import GONE, HEARTBEAT, SPECIALS, TEXTS
from tests.rules.support import every_rule, everything, text_of


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rules.case import Case
    from tests.rules.histories import Values

pytestmark = pytest.mark.slow

CASES = (*MACHINES, *OTHERS)

# The last minute of histories that are longer than 40 minutes.
LONG = {"CertificateExpiring": 160, "AgentFlapping": 60}

# An alert for each kind of evidence of an end: a counted list, an uncounted list, none.
DAYS = {"AgentUnreachable", "RunFailed", "SourceDown"}

# The minutes for which an ended series still counts.
LOOKBACK = 3

# Kinds whose empty list is no evidence.
COUNTED = {"agent", "controller", "cluster", "location", "recorder", "suite"}


def elsewhere(values: Values) -> Values:
    """Return what another exporter exposes, in another pod."""
    return {f"{series} instance=b pod=loadfleet-b": value for series, value in values.items()}


def histories(case: Case) -> Iterator[History]:
    """Yield what happens to every alert."""
    always, never, until = case.always, case.never, case.until
    bad, well, start = case.exposed(case.bad), case.exposed(case.well), case.start
    yield always("bad", Phase(1, bad))
    yield never("well", Phase(1, well))
    for title, values in case.silent.items():
        yield never(title, Phase(1, bad | values))
    for title, values in case.also.items():
        yield always(title, Phase(1, bad | values))
    if case.hold:
        yield never("a step too short", Phase(case.hold - STEP, bad), Phase(1, well))
        yield always("restart while pending", Phase(2, bad), Phase(1, {}), Phase(1, bad))
    yield always("lost scrapes", *((Phase(3, bad), Phase(STEP, {})) * 50))
    yield always("restart", start, Phase(1, {}), Phase(1, bad))
    yield until(start.minutes + 10 + case.keep, "well again", start, Phase(10, bad), Phase(1, well))
    over = start.minutes + LOOKBACK + case.keep
    if case.task is None:
        yield until(over, "exporter gone", start, Phase(1, {}))
        return
    yield always("exporter gone", start, Phase(1, {}))
    yield until(over, "source removed", start, Phase(1, {"exporter_build_info": "1"}))
    yield always("moved", Phase(3, bad), Phase(1, elsewhere(bad)))
    yield always("pair", Phase(1, bad | elsewhere(bad)))
    half = always if case.suffices else never
    yield half("half of a pair", Phase(1, bad | elsewhere(well)))
    if case.task:
        yield from _listed(case, over)


def _listed(case: Case, over: float) -> Iterator[History]:
    """Yield what happens to a target that is listed."""
    until, start, base = case.until, case.start, case.exposed({})
    yield until(over, "deleted", start, Phase(1, base))
    off = {name: value for name, value in base.items() if f"task={case.task}" not in name}
    yield until(over, "task switched off", start, Phase(1, off))
    failing = {f"source_task_up task={case.task}": "0"}
    unreadable = Phase(15, base | failing)
    known = start.minutes + unreadable.minutes + case.keep
    yield until(known, "unreadable, then deleted", start, unreadable, Phase(1, base))
    # Readings of a target from other tasks are evidence, too.
    well = Phase(1, case.exposed(case.well) | failing)
    yield until(known, "unreadable, then well", start, unreadable, well)
    if case.kind in COUNTED:
        empty = Phase(15, base | {f"source_targets kind={case.kind}": "0"})
        yield until(known, "empty list", start, empty, Phase(1, base))


def bounded(case: Case) -> History:
    """Return what comes to an end by itself, as nothing is known for a day."""
    # In steps of three minutes: the last sample of the source is that of minute 9.
    end = 9 + 24 * 60 + 3 + (6 if case.keep else 0)
    start = Phase(12, case.exposed(case.bad))
    found = case.until(end, "exporter gone", start, Phase(1, {}))
    return found._replace(fires=6 if case.hold else 0)


def of_everything() -> dict[str, list[dict[str, Any]]]:
    """Return promtool tests of all alerts, by the alert."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in CASES:
        found[case.alert].append(group(histories(case), LONG.get(case.alert, 40)))
    for alert, some in itertools.groupby((*SPECIALS, *PAIRS), attrgetter("alert")):
        found[alert].append(group(some, LONG.get(alert, 40)))
    for history in (*GONE, *GONE_OF_A_PAIR, HEARTBEAT):
        found[history.alert].append(group([history], 40))
    for case in CASES:
        if case.alert in DAYS:
            found[case.alert].append(group([bounded(case)], 28 * 60, step=3))
    return found


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what promtool finds wrong with all histories, by the alert."""
    return failures(tmp_path_factory.mktemp("rules"), text_of(everything()), of_everything())


@pytest.mark.parametrize("alert", NAMES)
def test_it_fires_when_it_should_and_not_else(alert: str, wrong: dict[str, str]) -> None:
    """An alert must fire in exactly the minutes of its history, with its labels."""
    assert "" == wrong[alert]


def test_texts_say_what_where_why_and_since_when(tmp_path: Path) -> None:
    """Prometheus fills in the templates, and links lead to the target's page."""
    summaries = {rule.name: rule.summary for rule in every_rule()}
    tests = defaultdict(list)
    for alert, series, minute, labels, text, page in texts():
        name = f"LoadFleet{alert}"
        annotations = {
            "summary": summaries[name],
            "description": text,
            "runbook_url": f"{RUNBOOK_URL}{name}.md",
            "board_url": f"https://board.example.com/{page}",
        }
        told = {"exp_labels": labels, "exp_annotations": annotations}
        check = {"eval_time": duration(minute), "alertname": name, "exp_alerts": [told]}
        tests[alert].append(
            {"interval": duration(STEP), "input_series": series, "alert_rule_test": [check]}
        )
    settings = everything()
    options = RulesOptions.of(settings, board_url="https://board.example.com/")

    found = failures(tmp_path, rules_file(settings.rules(), options), tests, texts=True)

    assert dict.fromkeys(tests, "") == found


def texts() -> Iterator[tuple[str, list[dict[str, str]], float, dict[str, str], str, str]]:
    """Yield alerts: name, series, minute, labels, description and the end of the board's link."""
    for case in CASES:
        phase = Phase(1, case.exposed(case.bad | case.details))
        series = list(input_series([phase], "prod", case.hold))
        yield case.alert, series, case.hold, case.fires("prod"), case.text, case.page
    for labels, phases, minute, text, page in TEXTS:
        alert, severity, *more = labels.split()
        found = labelled(f"severity={severity} {' '.join(more)}", "prod")
        identity = {name: value for name, value in found.items() if value}
        yield alert, list(input_series(phases, "prod", minute)), minute, identity, text, page
