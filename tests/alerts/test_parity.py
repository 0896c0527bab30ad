"""Prometheus and the built-in evaluation must say the same of the same histories."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from exporter.alerts import samples
from exporter.alerts.evaluate import Alerts, Evaluator, Phase
from exporter.alerts.expression import ALERTS, PLAIN
from exporter.alerts.formats import RulesOptions, rules_file
from exporter.alerts.rule import Links, Severity
from exporter.alerts.table import rules
from exporter.alerts.thresholds import Thresholds
from exporter.clock import Moment
from exporter.fleet.readings import PHASES
from exporter.metrics.catalogue import COMMON_LABELS, FAMILIES
from exporter.metrics.own import OWN_FAMILIES
from tests.support.alerts import view_of
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


MINUTE = 60.0

#: Long enough for a certificate to be pending for its two hours and to fire.
STEPS = 360

RUNBOOKS = "https://runbooks.example/"

#: The table without rules that hold while nothing is known; those have tests of their own.
RULES = tuple(
    replace(rule, about=None, details=rule.about.details if rule.details is None else rule.details)
    if rule.about
    else rule
    for rule in rules(Thresholds.model_validate({"suite_overdue": "2h"}))
    if rule.built_in
)

OPTIONS = RulesOptions(writing=PLAIN, links=Links(runbook_url=RUNBOOKS))

#: Values by the end of the metric's name; `t` is the present time.
VALUES = (
    ("_clock_delta_seconds", lambda _: [-7.25, -0.5, 4.999, 5.0, 5.0001, 12.5, 3725.0]),
    ("poll_interval_seconds", lambda _: [60.0, 60.0, 300.0]),
    ("poll_last_success_timestamp_seconds", lambda t: [0.0, 0.0, t - 5.5, t - 900]),
    ("reload_success_timestamp_seconds", lambda t: [t - 10, t - 1234.5]),
    ("not_after_timestamp_seconds", lambda t: [t + 600.25, t + 1_209_000, t + 1_400_000]),
    ("agent_start_timestamp_seconds", lambda t: [t - 1, t - 898.5, t - 100_000]),
    ("_start_timestamp_seconds", lambda t: [t - 100, t - 3000, t - 8000, t - 90_061.5]),
    ("suite_baseline_duration_seconds", lambda _: [20.0, 720.0, 720.5]),
    ("suite_last_run_duration_seconds", lambda _: [50.0, 51.0, 1080.0, 1080.5, 4321.0]),
    ("", lambda _: [0.0, 1.0]),
)

#: Values of labels that conditions match, by target.
SPECIAL = {
    "managed": ("vendor", "", ""),
    "task": ("agents", "suites", "agents"),
    "kind": ("agent", "location", "recorder"),
    "reason": ("outdated", "not_reachable", "outdated"),
    "outcome": ("aborted", "failed", "passed"),
}

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]
History = list[float | None]


def label_names(metric: str) -> tuple[str, ...]:
    """Return the labels of a vendor's or of our own metric."""
    for family in FAMILIES:
        if family.name == metric:
            return (*COMMON_LABELS, *family.labels)
    for own in OWN_FAMILIES:
        if own.name == metric:
            return own.labels
    raise LookupError(metric)


def label_values(name: str, target: int) -> list[str]:
    """Return the same values for the same target, so that series find their partners."""
    if name == "phase":
        return list(PHASES)
    if name in SPECIAL:
        return [SPECIAL[name][target % 3]]
    if name in COMMON_LABELS:
        return [f"{name}-{target // 2}"]
    # Characters that have to survive templates and JSON.
    return [[f"{name}-0", f'{name} "1"\\ ü', f"<{name}>2"][target % 3]]


def series() -> Iterator[Series]:
    """Yield three targets' series of every metric that a rule reads."""
    found: dict[Series, None] = {}
    for metric in sorted(samples.metrics(RULES) - {ALERTS}):
        names = label_names(metric)
        for target in range(3):
            for values in itertools.product(*(label_values(name, target) for name in names)):
                found[metric, tuple(zip(names, values, strict=True))] = None
    yield from found


def history(metric: str, dice: random.Random) -> History:
    """Make up what a series does: it stays for some minutes, changes, goes and comes back."""
    choices = next(make for end, make in VALUES if metric.endswith(end))
    values: History = []
    while len(values) < STEPS:
        slow = "certificate" in metric
        length = dice.choice([1, 60, 140] if slow else [1, 1, 2, 4, 5, 6, 7, 9, 12, 20])
        gone = dice.random() < 0.2
        value = None if gone else dice.choice(choices(len(values) * MINUTE))
        values += [value] * length
    return values[:STEPS]


def written(values: History) -> str:
    """Write a history as promtool reads it; what goes is marked as by a scrape without it."""
    words = []
    before: float | None = None
    for value in values:
        if value is None:
            words.append("_" if before is None else "stale")
        else:
            words.append(repr(value))
        before = value
    return " ".join(words)


def selector(metric: str, labels: Mapping[str, str]) -> str:
    inner = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    return f"{metric}{{{inner}}}"


def judged(histories: Mapping[Series, History]) -> list[Alerts]:
    """Run the built-in evaluation over the histories."""
    evaluator = Evaluator(RULES, links=OPTIONS.links)
    outcomes: list[Alerts] = []
    before = Alerts()
    for step in range(STEPS):
        newest: dict[str, list[tuple[dict[str, str], float]]] = {}
        for (metric, labels), values in histories.items():
            value = values[step]
            if value is not None:
                newest.setdefault(metric, []).append((dict(labels), value))
        now = Moment(unix=step * MINUTE, monotonic=1e6 + step * MINUTE)
        before = evaluator.evaluate(view_of(newest), now, before)
        outcomes.append(before)
    return outcomes


def expectations(outcomes: list[Alerts]) -> dict[str, list[dict[str, Any]]]:
    """Write what the evaluation said as what promtool has to find, no more and no less."""
    alert_tests = []
    expression_tests = []
    for step, outcome in enumerate(outcomes):
        firing: dict[str, list[dict[str, Any]]] = {rule.name: [] for rule in RULES}
        states = []
        for alert in outcome.active.values():
            if alert.phase is Phase.FIRING:
                labels = {k: v for k, v in alert.labels.items() if k != "alertname"}
                firing[alert.name].append(
                    {"exp_labels": labels, "exp_annotations": dict(alert.annotations)}
                )
            labels = {**alert.labels, "alertstate": alert.phase.value}
            states.append({"labels": selector("ALERTS", labels), "value": 1})
        expression_tests.append({"expr": "ALERTS", "eval_time": f"{step}m", "exp_samples": states})
        alert_tests += [
            {"eval_time": f"{step}m", "alertname": name, "exp_alerts": expected}
            for name, expected in firing.items()
        ]
    return {"alert_rule_test": alert_tests, "promql_expr_test": expression_tests}


def promtool(folder: Path, histories: Mapping[Series, History], outcomes: list[Alerts]) -> str:
    """Return what Prometheus has against the outcomes."""
    (folder / "rules.yml").write_text(rules_file(RULES, OPTIONS))
    inputs = [
        {"series": selector(metric, dict(labels)), "values": written(values)}
        for (metric, labels), values in histories.items()
    ]
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": inputs, **expectations(outcomes)}],
    }
    # JSON is YAML, and quick to write.
    (folder / "tests.yml").write_text(json.dumps(document))
    done = subprocess.run(
        [require("promtool"), "test", "rules", "tests.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[:4000] or "it failed"


def histories_of(seed: int) -> dict[Series, History]:
    dice = random.Random(seed)  # noqa: S311 - not for secrets
    return {(metric, labels): history(metric, dice) for metric, labels in series()}


SEEDS = (1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_prometheus_agrees_with_every_alert_at_every_minute(tmp_path: Path, seed: int) -> None:
    """The same series must give the same pending and firing alerts, labels and texts."""
    histories = histories_of(seed)

    outcomes = judged(histories)

    assert "" == promtool(tmp_path, histories, outcomes)


def test_the_histories_take_every_alert_through_its_life() -> None:
    """A state that never occurs in the histories would agree by itself."""
    outcomes = [outcome for seed in SEEDS for outcome in judged(histories_of(seed))]

    active = [alert for outcome in outcomes for alert in outcome.active.values()]

    assert {rule.name for rule in RULES if rule.severity is not Severity.NONE} == {
        alert.name for outcome in outcomes for alert in outcome.resolved.values()
    }
    assert {rule.name for rule in RULES if rule.hold_seconds} == {
        alert.name for alert in active if alert.phase is Phase.PENDING
    }
    assert {rule.name for rule in RULES if rule.keep_seconds} == {
        alert.name for alert in active if alert.lapsed
    }


def test_prometheus_disagrees_with_an_alert_that_is_a_minute_late(tmp_path: Path) -> None:
    """The comparison itself must notice a difference, or it proves nothing."""
    histories = histories_of(1)
    outcomes = judged(histories)[:60]

    late = [outcomes[0], *outcomes[:-1]]

    assert "FAILED" in promtool(tmp_path, histories, late)
