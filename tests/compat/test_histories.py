"""The histories of tests/rules on later generations of Prometheus and in vmalert.

Each history has the first and the last step at which an alert fires. Prometheus 3 excludes the
beginning of a window, and vmalert reads its recorded series at the next evaluation only, so both
may be some steps off.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter.alerts.formats import metricsql
from tests.rules.histories import written_to
from tests.rules.support import everything, text_of
from tests.rules.test_histories import of_everything
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path


#: An alert for each way to fire and end; `--whole` plays all alerts, which takes minutes.
SAMPLE = ("AgentUnreachable", "BudgetExhausted", "ExporterGone", "ExporterRestarting", "RunFailed")

#: Tolerance in steps of half a minute. vmalert is an evaluation late, twice in a row, hence 3.
EARLIER, LATER = 1, 3

_SAMPLE = re.compile(r"(\{[^{}]*\}) ([-+.\dE]+)", re.IGNORECASE)

_STEP_SECONDS = 30


@pytest.mark.timeout(600)
@pytest.mark.generations("next", "newest")
def test_prometheus_tells_the_same(
    generation: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """In each generation of Prometheus, each alert must fire when expected, within one step."""
    files = written_to(tmp_path, text_of(everything()), _chosen(pytestconfig))

    assert [] == _off(["promtool", "test", "rules", *map(str, files)], later=0)


@pytest.mark.timeout(600)
@pytest.mark.generations("newest")
def test_vmalert_tells_the_same(
    generation: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """In vmalert, each alert must fire when expected, within three steps."""
    found = []
    for path in written_to(tmp_path, metricsql(text_of(everything())), _chosen(pytestconfig)):
        document = yaml.safe_load(path.read_text())
        _for_vmalert(document, path.name.split(".")[0])
        # vmalert loses the stale markers of series with a comma in a label's value.
        path.write_text(
            re.sub(r"(?<=\w), (?=then|a pair)", " ", yaml.safe_dump(document, width=10**6))
        )
        found += _off(["vmalert-tool", "unittest", f"--files={path}"], later=LATER)

    assert [] == found


@pytest.mark.generations("newest")
def test_vmalert_needs_rules_of_its_own(generation: str, tmp_path: Path) -> None:
    """With Prometheus' own rules, vmalert would report an exporter that started only twice."""
    groups = {
        name: tests for name, tests in of_everything().items() if name == "ExporterRestarting"
    }
    (path,) = written_to(tmp_path, text_of(everything()), groups)
    document = yaml.safe_load(path.read_text())
    _for_vmalert(document, "ExporterRestarting")
    path.write_text(yaml.safe_dump(document, width=10**6))

    found = _off(["vmalert-tool", "unittest", f"--files={path}"], later=LATER)

    assert any("ExporterRestarting: twice" in each for each in found)


def _chosen(config: pytest.Config) -> dict[str, list[dict[str, Any]]]:
    whole = config.getoption("whole")
    # Histories of days are left out: a reading does not last for their step of three minutes.
    step = f"{_STEP_SECONDS}s"
    return {
        name: [test for test in tests if step == test["interval"]]
        for name, tests in of_everything().items()
        if whole or name in SAMPLE
    }


def _for_vmalert(document: dict[str, Any], group: str) -> None:
    """Write a test of promtool as vmalert-tool reads it, which names groups in its alerts."""
    for test in document["tests"]:
        checks = test.pop("promql_expr_test")
        for sample in (sample for check in checks for sample in check["exp_samples"]):
            sample["labels"] = sample["labels"].replace(
                "{", f"{{alertgroup={json.dumps(group)},", 1
            )
        test["metricsql_expr_test"] = checks


def _off(command: list[str], *, later: int) -> list[str]:
    """Return a tool's failures in which an alert fired more than some steps too early or late."""
    program, *arguments = command
    done = subprocess.run(
        [require(program), *arguments], capture_output=True, text=True, check=False
    )
    told = done.stdout + done.stderr
    assert "SUCCESS" in told or "expr: " in told, told
    found, kind = [], ""
    expected: dict[str, float] = {}
    for line in map(str.strip, told.splitlines()):
        what, _, samples = line.partition(":")
        if what == "expr":
            kind = samples.strip().lstrip('"').partition("_")[0]
        elif what == "exp":
            expected = _values(samples)
        elif what == "got":
            got = _values(samples)
            # But for gaps, the first and the last step give the number of steps.
            unit = 1 if kind == "count" else _STEP_SECONDS
            slack = (EARLIER + later) * unit
            found += [
                f"{kind} {labels}: {expected.get(labels)} is {got.get(labels)}"
                for labels in expected.keys() | got.keys()
                if labels not in expected
                or labels not in got
                or not -slack <= got[labels] - expected[labels] <= slack
            ]
    return found


def _values(samples: str) -> dict[str, float]:
    return {labels: float(value) for labels, value in _SAMPLE.findall(samples)}
