from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter.alerts.thresholds import Thresholds
from tests.rules.support import COMMITTED, DEPLOY, EVERYTHING, FOLDER, every_rule, run, text_of


if TYPE_CHECKING:
    from pathlib import Path

HISTORIES = sorted(FOLDER.glob("*.yml"))
OFF_BY_DEFAULT = sorted((FOLDER / "off_by_default").glob("*.yml"))


def test_the_committed_rules_are_those_of_the_table() -> None:
    """The file to copy must say what the code means; print it anew when this fails."""
    assert text_of(Thresholds()) == COMMITTED.read_text()


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    """Prometheus must take the file."""
    result = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", COMMITTED)

    assert 0 == result.returncode, result.stdout + result.stderr


def test_promtool_finds_nothing_wrong_with_the_configuration() -> None:
    """Prometheus must start with the file that is shipped."""
    result = run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")

    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("history", HISTORIES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(history: Path) -> None:
    """The histories tell when, with which labels and texts, and when not."""
    result = run("promtool", "test", "rules", history)

    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("history", OFF_BY_DEFAULT, ids=lambda path: path.stem)
def test_alerts_that_are_off_by_default_fire_when_they_should(
    history: Path, tmp_path: Path
) -> None:
    """Their rules are not in the shipped file."""
    (tmp_path / "alerts.yml").write_text(text_of(EVERYTHING))
    shutil.copy(history, tmp_path)

    result = run("promtool", "test", "rules", tmp_path / history.name)

    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("name", [rule.name for rule in every_rule()])
def test_every_alert_has_a_history(name: str) -> None:
    """Each must be seen to fire, and to be silent before, in the same history."""
    outcomes = {
        bool(check["exp_alerts"])
        for path in (*HISTORIES, *OFF_BY_DEFAULT)
        for check in _checks(path)
        if check["alertname"] == name
    }

    assert {True, False} == outcomes


def _checks(path: Path) -> list[dict[str, Any]]:
    document = yaml.safe_load(path.read_text())
    return [check for test in document["tests"] for check in test["alert_rule_test"]]
