from __future__ import annotations

import math
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter.alerts.expression import PLAIN
from exporter.alerts.samples import Partners
from exporter.alerts.texts import (
    FORMATS,
    Text,
    humanize_duration,
    humanize_percentage,
)
from tests.support.alerts import view_of
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path

VALUES = [
    0.0, 0.001, 0.0015, 0.000001234, 0.5, -0.25, 0.99999, 1.0, 1.23456, -1.5, 5.001, 59.0,
    59.9999, 60.0, 61.9, -65.25, 3599.0, 3600.0, 3661.0, 86399.0, 86400.0, 1209599.5, -90061.0,
    1e-10, 1e-30, 123456789.0, math.inf, -math.inf,
]  # fmt: skip


NOTHING = Partners(view_of({}))

#: Time stamps are written in whole seconds, which Prometheus is told to round to.
RELATIVE = FORMATS.keys() - {"humanizeTimestamp"}


class TestText:
    def test_prometheus_reads_it_as_a_template(self) -> None:
        """Labels and the value become what Prometheus fills in."""
        text = Text("Agent {agent} is {value:humanizeDuration} late.")

        assert (
            "Agent {{ $labels.agent }} is {{ $value | humanizeDuration }} late."
            == text.prometheus(PLAIN)
        )

    def test_we_fill_it_in(self) -> None:
        """The same text comes from the evaluation in the daemon."""
        text = Text("Agent {agent} is {value:humanizeDuration} late.")

        assert "Agent a {b} is 1m 5s late." == text.render({"agent": "a {b}"}, 65.0, NOTHING)

    def test_a_missing_label_is_empty(self) -> None:
        """Prometheus leaves the place empty, and so do we."""
        assert "Agent ." == Text("Agent {agent}.").render({}, 1.0, NOTHING)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0), ("1ms", 0.001), ("250ms", 0.25), ("1.235s", 1.23456), ("-1m 5s", -65.25),
        ("1h 1m 1s", 3661), ("14d 0h 0m 0s", 1_209_600), ("+Inf", math.inf), ("NaN", math.nan),
    ],
)  # fmt: skip
def test_durations_are_written_for_people(text: str, seconds: float) -> None:
    """Durations must be written in the largest fitting units."""
    assert text == humanize_duration(seconds)


@pytest.mark.parametrize(("text", "ratio"), [("50%", 0.5), ("66.67%", 2 / 3), ("100%", 1.0)])
def test_ratios_are_written_in_per_cent(text: str, ratio: float) -> None:
    """Ratios must be written in per cent, with four digits at most."""
    assert text == humanize_percentage(ratio)


def test_prometheus_writes_values_the_same(tmp_path: Path) -> None:
    """The two ways must not differ in a single text."""
    series, expected = [], []
    for number, value in enumerate(VALUES):
        labels = {"n": str(number)}
        go = {math.inf: "Inf", -math.inf: "-Inf"}.get(value, repr(value))
        series.append({"series": f'a{{n="{number}"}}', "values": go})
        texts = {
            form: Text(f"{{value:{form}}}").render(labels, value, NOTHING) for form in RELATIVE
        }
        expected.append({"exp_labels": labels, "exp_annotations": texts})
    templates = {form: Text(f"{{value:{form}}}").prometheus(PLAIN) for form in RELATIVE}
    rule = {"alert": "A", "expr": "a", "annotations": templates}
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]})
    )
    check = {"eval_time": "0m", "alertname": "A", "exp_alerts": expected}
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [check]}
    (tmp_path / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]})
    )

    result = subprocess.run(
        [require("promtool"), "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == result.returncode, result.stdout + result.stderr
