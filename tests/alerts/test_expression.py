from __future__ import annotations

import math
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter.alerts.expression import (
    Abs,
    Absent,
    Age,
    Expression,
    Match,
    Remaining,
    Select,
    select,
)
from exporter.alerts.samples import identity
from exporter.alerts.table import rules
from exporter.alerts.thresholds import Thresholds
from exporter.metrics import catalogue as c
from exporter.metrics import own
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.alerts.samples import Labels, SampleView

A = Select(metric="a")
B = Select(metric="b")

NOW = 3600.0

#: Every kind of node, and the ways in which their operators bind.
EXPRESSIONS: dict[str, Expression] = {
    'a{phase="x"}': Select(metric="a", matches=(Match(label="phase", values=("x",)),)),
    'a{phase=~"x|y.z"}'.replace(".", r"\\."): Select(
        metric="a", matches=(Match(label="phase", values=("x", "y.z")),)
    ),
    'a{phase=~".*x"}': Select(metric="a", matches=(Match(label="phase", pattern=".*x"),)),
    'a{phase="\\"\\\\"}': Select(metric="a", matches=(Match(label="phase", values=('"\\',)),)),
    "time() - a": Age(of=A),
    "a - time()": Remaining(of=A),
    "abs(a)": Abs(of=A),
    "2.5 * a": A.times(2.5),
    "absent(a)": Absent(metric="a"),
    "absent(nothing)": Absent(metric="nothing"),
    "a == 0": A.compared("==", 0),
    "a < -1": A.compared("<", -1),
    "a <= 5": A.compared("<=", 5),
    "a > 1000000000000": A.compared(">", 1e12),
    "a >= 0.5": A.compared(">=", 0.5),
    "a > 2 * b": A.compared(">", B.times(2)),
    "a / b": A.divided_by(B),
    "count without (id, phase) (a)": A.counted("id", "phase"),
    "a and on (id) b": A.where("and", B, "id"),
    "a unless on (id) b": A.where("unless", B, "id"),
    "a unless on () b": A.where("unless", B),
    "a or b": A.either(B),
    "b + on (job) group_left () c": B.plus_one_of(Select(metric="c"), "job"),
    "time() - (a or b) > 10": Age(of=A.either(B)).compared(">", 10),
    "2 * (a or b)": A.either(B).times(2),
    "a unless on (id) (b or a)": A.where("unless", B.either(A), "id"),
    "a unless on (id) b and on (id) a": A.where("unless", B, "id").where("and", A, "id"),
    "a unless on (id) (b and on (id) a)": A.where("unless", B.where("and", A, "id"), "id"),
    "a or b unless on (id) a": A.either(B.where("unless", A, "id")),
    "(a or b) unless on (id) a": A.either(B).where("unless", A, "id"),
    "a or (b or a)": A.either(B.either(A)),
    "time() - (time() - a)": Age(of=Age(of=A)),
    "(a > 1) == 7": A.compared(">", 1).compared("==", 7),
    "b / (a / b)": B.divided_by(A.divided_by(B)),
}

SAMPLES: SampleView = {
    "a": [
        ({"id": "1", "phase": "x"}, 0.0),
        ({"id": "1", "phase": "y.z"}, 1.0),
        ({"id": "2", "phase": "yxz"}, 7.0),
        ({"id": "3", "phase": "ax"}, -7.0),
        ({"id": "4"}, math.inf),
        ({"id": "5"}, 5.0),
        ({"id": "6", "phase": '"\\'}, 2e12),
        ({"id": "8", "job": "j"}, 4.0),
    ],
    "b": [
        ({"id": "1", "phase": "x"}, 2.0),
        ({"id": "2", "phase": "yxz"}, 0.5),
        ({"id": "5"}, 1.0),
        ({"id": "7", "job": "j"}, 3.0),
        ({"id": "8", "job": "j"}, 3.0),
    ],
    "c": [({}, 100.0), ({"job": "j"}, 200.0)],
}


def fleet() -> SampleView:
    """Return samples that make every rule of the table fire for one target and not for another."""
    source = {"provider": "realload", "source": "prod", "site": "bern"}

    def of(good: float, bad: float, **labels: str) -> list[tuple[dict[str, str], float]]:
        return [
            ({**source, **{name: f"{text}-good" for name, text in labels.items()}}, good),
            ({**source, **{name: f"{text}-bad" for name, text in labels.items()}}, bad),
        ]

    agent = {"agent_id": "1", "agent": "ubuntu"}
    recorder = {"recorder_id": "2", "recorder": "office"}
    cluster = {"cluster_id": "3", "agent_cluster": "west"}
    member = {**cluster, "member_id": "4", **agent}
    location = {"location_id": "8", "location_name": "bern"}
    suite = {"suite_id": "5", "suite": "checkout"}
    run = {"run_id": "6", "run": "smoke"}
    certificate = {"certificate_id": "7", "certificate": "shop", "host": "example.com"}
    task = {"task": "agents"}
    return {
        "up": [
            ({"job": "loadfleet", "instance": "x:10871"}, 0.0),
            ({"job": "node", "instance": "x:9100"}, 0.0),
        ],
        c.SOURCE_UP.name: [(source, 0.0)],
        c.SOURCE_AUTH_FAILED.name: [(source, 1.0)],
        c.AGENT_UP.name: of(1, 0, **agent),
        c.AGENT_ACTIVE.name: of(1, 1, **agent),
        c.AGENT_OUTDATED.name: of(0, 1, **agent),
        c.AGENT_CLOCK_DELTA.name: of(5, -5.5, **agent),
        c.AGENT_PROTECTED.name: of(1, 0, **agent),
        c.AGENT_START.name: of(NOW - 900, NOW - 60.5, **agent),
        c.CONTROLLER_UP.name: of(1, 0, controller="c"),
        c.CONTROLLER_OUTDATED.name: of(0, 1, controller="c"),
        c.CONTROLLER_CLOCK_DELTA.name: of(0, 90, controller="c"),
        c.CLUSTER_INFO.name: of(1, 1, **cluster, controller="other"),
        c.CLUSTER_UP.name: of(1, 0, **cluster),
        c.CLUSTER_OUTDATED.name: of(1, 0, **cluster),
        c.CLUSTER_MEMBER_UP.name: of(1, 0, **member),
        c.CLUSTER_MEMBER_OUTDATED.name: of(1, 0, **member),
        c.CLUSTER_MEMBER_CLOCK_DELTA.name: of(0, 90, **member),
        c.RECORDER_UP.name: of(1, 0, **recorder),
        c.RECORDER_OUTDATED.name: of(0, 1, **recorder),
        c.RECORDER_CLOCK_DELTA.name: of(0, 90, **recorder),
        c.LOCATION_AGENTS_UP.name: of(1, 0, **location),
        c.SUITE_LAST_RUN_PASSED.name: of(1, 0, **suite),
        c.SUITE_HEALTHY.name: of(1, 0, **suite),
        c.SUITE_RUNNING.name: of(0, 0, **suite),
        c.SUITE_LAST_RUN_START.name: of(NOW, NOW - 86401, **suite),
        c.RUN_PASSED.name: of(1, 0, **run),
        c.RUN_ENGINE_ERRORS.name: of(1, 1, **run),
        c.RUN_INTERNAL_ERROR.name: of(1, 1, **run),
        c.RUN_START.name: of(NOW, NOW - 1801, **run),
        c.RUN_PHASE.name: [
            ({**source, "run_id": "6-good", "run": "smoke-good", "phase": "running"}, 1.0),
            ({**source, "run_id": "6-bad", "run": "smoke-bad", "phase": "ready"}, 1.0),
        ],
        c.CERTIFICATE_NOT_AFTER.name: of(NOW + 1_209_600, NOW + 1_209_599, **certificate),
        c.CERTIFICATE_ACTIVE.name: of(1, 1, **certificate),
        own.POLL_LAST_SUCCESS.name: of(NOW, NOW - 301, **task),
        own.POLL_INTERVAL.name: of(60, 60, **task),
        own.RELOAD_SUCCESS_TIMESTAMP.name: [({}, NOW - 3000)],
        own.RELOAD_SUCCESSFUL.name: [({}, 0.0)],
        own.NOTIFICATIONS_FAILING.name: of(0, 1, receiver="r"),
    }


def ask_prometheus(
    folder: Path, samples: SampleView, expected: dict[str, dict[Labels, float]]
) -> subprocess.CompletedProcess[str]:
    """Have promtool compare expressions at `NOW` with what is expected of them."""
    series = [
        {"series": f"{name}{_block(labels)}", "values": " ".join([_go(value)] * 61)}
        for name, found in samples.items()
        for labels, value in found
    ]
    tests = [
        {
            "expr": promql,
            "eval_time": f"{NOW:.0f}s",
            "exp_samples": [
                {"labels": _block(dict(labels)), "value": value} for labels, value in vector.items()
            ],
        }
        for promql, vector in expected.items()
    ]
    document = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}
    path = folder / "expressions.yml"
    path.write_text(yaml.safe_dump(document))
    return subprocess.run(
        [require("promtool"), "test", "rules", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


def _block(labels: object) -> str:
    assert isinstance(labels, dict)
    quoted = (
        '{}="{}"'.format(name, text.replace("\\", "\\\\").replace('"', '\\"'))
        for name, text in labels.items()
    )
    return "{" + ", ".join(quoted) + "}"


def _go(value: float) -> str:
    return "Inf" if value == math.inf else repr(value)


class TestPromql:
    @pytest.mark.parametrize("promql", EXPRESSIONS)
    def test_it_is_written_as_people_write_it(self, promql: str) -> None:
        """Brackets stand where they are needed, or where they spare the reader a thought."""
        assert promql == EXPRESSIONS[promql].promql()

    def test_families_are_selected_by_their_names(self) -> None:
        """Nobody has to spell a metric."""
        booting = Match(label="phase", values=("booting",))

        assert 'loadfleet_run_phase{phase="booting"}' == select(c.RUN_PHASE, booting).promql()

    def test_own_gauges_are_selected_by_their_names(self) -> None:
        """Nor one of the exporter's own."""
        assert "loadfleet_exporter_poll_interval_seconds" == select(own.POLL_INTERVAL).promql()


class TestEvaluate:
    def test_it_agrees_with_prometheus(self, tmp_path: Path) -> None:
        """Both readings of an expression must give the same series and values."""
        expected = {
            # Without its name a series is what both sides call it.
            f"({promql}) * 1": expression.evaluate(SAMPLES, NOW)
            for promql, expression in EXPRESSIONS.items()
        }

        result = ask_prometheus(tmp_path, SAMPLES, expected)

        assert 0 == result.returncode, result.stdout + result.stderr

    def test_it_agrees_with_prometheus_on_every_rule(self, tmp_path: Path) -> None:
        """The table's conditions must mean the same to both, and each can hold."""
        samples = fleet()
        thresholds = Thresholds.model_validate({"suite_overdue": "1d"})
        conditions = {rule.name: rule.expression for rule in rules(thresholds)}
        expected = {
            f"({expression.promql()}) * 1": expression.evaluate(samples, NOW)
            for expression in conditions.values()
        }

        result = ask_prometheus(tmp_path, samples, expected)

        assert 0 == result.returncode, result.stdout + result.stderr
        assert [] == [
            name for name, rule in conditions.items() if 1 != len(rule.evaluate(samples, NOW))
        ]

    def test_missing_metrics_have_no_series(self) -> None:
        """No condition holds for what is not known."""
        assert {} == A.compared("==", 0).evaluate({}, NOW)

    def test_nothing_compares_with_not_a_number(self) -> None:
        """NaN is neither more nor less than anything, nor itself."""
        samples: SampleView = {"a": [({"id": "1"}, math.nan)], "b": [({"id": "1"}, math.nan)]}

        assert {} == A.compared("<=", 0).evaluate(samples, NOW)
        assert {} == A.compared("==", B).evaluate(samples, NOW)

    def test_an_empty_label_is_none(self) -> None:
        """Prometheus cannot tell an empty label from a missing one."""
        samples: SampleView = {"a": [({"id": "", "job": "j"}, 1.0)], "b": [({"job": "j"}, 1.0)]}

        assert {(("job", "j"),): 1.0} == A.compared("==", B).evaluate(samples, NOW)


def test_identity_does_not_depend_on_the_order() -> None:
    """The same labels are the same series, however they came."""
    assert identity({"b": "2", "a": "1", "c": ""}) == identity({"a": "1", "b": "2"})
