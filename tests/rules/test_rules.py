from __future__ import annotations

from exporter.alerts.settings import AlertingSettings
from tests.rules.support import COMMITTED, DEPLOY, run, text_of


def test_the_committed_rules_are_those_of_the_table() -> None:
    """The file to copy must say what the code means; print it anew when this fails."""
    assert text_of(AlertingSettings()) == COMMITTED.read_text()


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    """Prometheus must take the file."""
    result = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", COMMITTED)

    assert 0 == result.returncode, result.stdout + result.stderr


def test_promtool_finds_nothing_wrong_with_the_configuration() -> None:
    """Prometheus must start with the file that is shipped."""
    result = run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")

    assert 0 == result.returncode, result.stdout + result.stderr
