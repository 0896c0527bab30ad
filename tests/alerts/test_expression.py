from __future__ import annotations

import json
import math
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter.alerts.expression import (
    Abs,
    Absent,
    Age,
    Always,
    Expression,
    Match,
    Remaining,
    Select,
    select,
)
from exporter.alerts.samples import identity
from exporter.alerts.values import evaluated
from exporter.metrics import catalogue as c
from exporter.metrics import own
from tests.support.alerts import view_of
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.alerts.samples import Labels
    from tests.support.alerts import Samples

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
    "absent(a)": Absent(of=A),
    "absent(nothing)": Absent(of=Select(metric="nothing")),
    "a == 0": A.compared("==", 0),
    "a < -1": A.compared("<", -1),
    "a <= 5": A.compared("<=", 5),
    "a > 1000000000000": A.compared(">", 1e12),
    "a >= 0.5": A.compared(">=", 0.5),
    "a > 2 * b": A.compared(">", B.times(2)),
    "a / b": A.divided_by(B),
    "count without (id, phase) (a)": A.merged("count", "id", "phase"),
    "max without (phase) (a)": A.merged("max", "phase"),
    "min without (id, phase) (a)": A.merged("min", "id", "phase"),
    "sum without (id) (b)": B.merged("sum", "id"),
    "max without () (b)": B.merged("max"),
    "vector(1)": Always(),
    'a{phase!="x"}': Select(
        metric="a", matches=(Match(label="phase", values=("x",), negated=True),)
    ),
    'a{phase!~"x|ax"}': Select(
        metric="a", matches=(Match(label="phase", values=("x", "ax"), negated=True),)
    ),
    'a{phase="zwei\\nZeilen"}': Select(
        metric="a", matches=(Match(label="phase", values=("zwei\nZeilen",)),)
    ),
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

SAMPLES: Samples = {
    "a": [
        ({"id": "1", "phase": "x"}, 0.0),
        ({"id": "1", "phase": "y.z"}, 1.0),
        ({"id": "2", "phase": "yxz"}, 7.0),
        ({"id": "3", "phase": "ax"}, -7.0),
        ({"id": "4"}, math.inf),
        ({"id": "5"}, 5.0),
        ({"id": "6", "phase": '"\\'}, 2e12),
        ({"id": "8", "job": "j"}, 4.0),
        ({"id": "9", "phase": "zwei\nZeilen"}, 9.0),
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


def ask_prometheus(
    folder: Path, samples: Samples, expected: dict[str, dict[Labels, float]]
) -> subprocess.CompletedProcess[str]:
    """Compare expressions at `NOW` with expected results, by promtool."""
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
    quoted = (f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in labels.items())
    return "{" + ", ".join(quoted) + "}"


def _go(value: float) -> str:
    return "Inf" if value == math.inf else repr(value)


class TestPromql:
    @pytest.mark.parametrize("promql", EXPRESSIONS)
    def test_it_is_written_as_people_write_it(self, promql: str) -> None:
        """Brackets stand where they are needed, or where they spare the reader a thought."""
        assert promql == EXPRESSIONS[promql].promql()

    def test_families_are_selected_by_their_names(self) -> None:
        """Families of the catalogue must be selected by their objects, not by text."""
        booting = Match(label="phase", values=("booting",))

        assert 'loadfleet_run_phase{phase="booting"}' == select(c.RUN_PHASE, booting).promql()

    def test_own_gauges_are_selected_by_their_names(self) -> None:
        """The exporter's own gauges must be selected by their objects, not by text."""
        assert "loadfleet_exporter_poll_interval_seconds" == select(own.POLL_INTERVAL).promql()


class TestEvaluate:
    def test_it_agrees_with_prometheus(self, tmp_path: Path) -> None:
        """Both readings of an expression must give the same series and values."""
        expected = {
            # The multiplication removes the metric's name, which the exporter's samples lack.
            f"({promql}) * 1": evaluated(expression, view_of(SAMPLES), NOW)
            for promql, expression in EXPRESSIONS.items()
        }

        result = ask_prometheus(tmp_path, SAMPLES, expected)

        assert 0 == result.returncode, result.stdout + result.stderr

    def test_missing_metrics_have_no_series(self) -> None:
        """No condition holds for what is not known."""
        assert {} == evaluated(A.compared("==", 0), view_of({}), NOW)

    def test_nothing_compares_with_not_a_number(self) -> None:
        """NaN is neither more nor less than anything, nor itself."""
        samples: Samples = {"a": [({"id": "1"}, math.nan)], "b": [({"id": "1"}, math.nan)]}

        assert {} == evaluated(A.compared("<=", 0), view_of(samples), NOW)
        assert {} == evaluated(A.compared("==", B), view_of(samples), NOW)

    def test_an_empty_label_is_none(self) -> None:
        """Prometheus cannot tell an empty label from a missing one."""
        samples: Samples = {"a": [({"id": "", "job": "j"}, 1.0)], "b": [({"job": "j"}, 1.0)]}

        assert {(("job", "j"),): 1.0} == evaluated(A.compared("==", B), view_of(samples), NOW)

    @pytest.mark.parametrize(
        ("dividend", "divisor", "expected"),
        [
            (math.nan, 0.0, "nan"),
            (0.0, 0.0, "nan"),
            (1.0, 0.0, "inf"),
            (1.0, -0.0, "-inf"),
            (-1.0, 0.0, "-inf"),
            (-1.0, -0.0, "inf"),
            (math.inf, -0.0, "-inf"),
            (math.nan, 1.0, "nan"),
        ],
    )
    def test_division_by_zero_is_that_of_floating_point_numbers(
        self, dividend: float, divisor: float, expected: str
    ) -> None:
        """Division by zero must give infinity or NaN, with the sign of floating point numbers."""
        samples: Samples = {"a": [({}, dividend)], "b": [({}, divisor)]}

        (value,) = evaluated(A.divided_by(B), view_of(samples), NOW).values()

        assert expected == str(value)

    def test_a_sum_may_be_infinite_both_ways(self) -> None:
        """The sum is not a number, and nothing is raised."""
        samples: Samples = {"a": [({"id": "1"}, math.inf), ({"id": "2"}, -math.inf)]}

        (value,) = evaluated(A.merged("sum", "id"), view_of(samples), NOW).values()

        assert math.isnan(value)

    def test_several_partners_are_refused(self) -> None:
        """Prometheus would not choose one of them either."""
        samples: Samples = {
            "a": [({"id": "1", "job": "j"}, 1.0)],
            "b": [({"id": "2", "job": "j"}, 1.0), ({"id": "3", "job": "j"}, 2.0)],
        }

        with pytest.raises(ValueError, match="several series have the same job"):
            evaluated(A.plus_one_of(B, "job"), view_of(samples), NOW)

    def test_matchers_are_quoted_for_promql(self) -> None:
        """A line break, as any other character, cannot end the text that it is in."""
        awkward = Match(label="phase", values=('a\nb"c\\d\te',))

        assert r'phase="a\nb\"c\\d\te"' == awkward.promql()


def test_identity_does_not_depend_on_the_order() -> None:
    """The same labels are the same series, however they came."""
    assert identity({"b": "2", "a": "1", "c": ""}) == identity({"a": "1", "b": "2"})
