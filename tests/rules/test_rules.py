from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from exporter.alerts.formats import metricsql
from exporter.alerts.settings import AlertingSettings
from tests.deploy.install import PAGE, commands
from tests.rules.support import COMMITTED, DEPLOY, run, text_of
from tests.support.servers import require


def test_the_committed_rules_are_those_of_the_table() -> None:
    """The file to copy must say what the code means; print it anew when this fails."""
    assert text_of(AlertingSettings()) == COMMITTED.read_text()


def test_the_rules_for_vmalert_are_the_same_but_for_two_functions() -> None:
    """The rules for vmalert must differ in `changes` and `increase` only."""
    text = (DEPLOY / "victoriametrics" / "alerts.yml").read_text()

    assert metricsql(text_of(AlertingSettings())) == text
    assert [] == re.findall(r"\b(?:changes|increase)\(", text)
    assert COMMITTED.read_text() == re.sub(r"\b(changes|increase)_prometheus\(", r"\1(", text)


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    """Prometheus must take the file."""
    result = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", COMMITTED)

    assert 0 == result.returncode, result.stdout + result.stderr


def test_promtool_finds_nothing_wrong_with_the_configuration() -> None:
    """Prometheus must start with the file that is shipped."""
    result = run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")

    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("page", "heading", "made"),
    [
        ("alerting.md", "Rules in Prometheus", {"alerts.yml"}),
        ("alerting.md", "Rules in Grafana", {"loadfleet.yaml"}),
        ("upgrade.md", "Before the upgrade", set()),
        ("upgrade.md", "After the upgrade", {"alerts.yml", "dashboards"}),
    ],
)
def test_the_commands_of_the_pages_print_them(
    page: str, heading: str, made: set[str], tmp_path: Path
) -> None:
    """What is copied from a page must leave the files that the page names."""
    require("promtool")
    (tmp_path / "loadfleet.yml").write_text(
        "sources: [{provider: realload, url: 'http://portal.test/x', auth_token: invented}]"
    )
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    for block in commands(heading, PAGE.with_name(page)):
        subprocess.run(["bash", "-euc", block], cwd=tmp_path, env=environ, check=True)

    files = {path.name: path for path in tmp_path.iterdir()}
    assert {"loadfleet.yml", *made} == set(files)
    assert [] == [name for name in made if not files[name].stat().st_size]


def test_what_follows_from_an_alert_that_goes_on_is_not_told(tmp_path: Path) -> None:
    """The controller's reading expires while its list cannot be read; its clusters are not news."""
    source = 'provider="realload", source="prod"'
    cluster = f'{source}, cluster_id="3", agent_cluster="north"'
    member = f'{cluster}, member_id="7", agent_id="46", agent="load-46"'
    controller = f'{source}, controller="ctrl-1:8083"'
    always = {
        f"loadfleet_source_up{{{source}}}": "1x60",
        f'loadfleet_source_task_up{{{source}, task="clusters"}}': "1x60",
        f'loadfleet_source_targets{{{source}, kind="cluster"}}': "1x60",
        f'loadfleet_cluster_info{{{cluster}, controller="ctrl-1:8083"}}': "1x60",
        f"loadfleet_cluster_up{{{cluster}}}": "0x60",
        f"loadfleet_cluster_member_up{{{member}}}": "0x60",
        f'loadfleet_source_task_up{{{source}, task="controllers"}}': "1x9 0x51",
        f'loadfleet_source_targets{{{source}, kind="controller"}}': "1x60",
        f"loadfleet_controller_up{{{controller}}}": "0x9 stale",
    }
    firing = [
        {"labels": f'ALERTS{{alertname="{name}", alertstate="firing", severity="critical", {of}}}'}
        | {"value": 1}
        for name, of in (
            ("LoadFleetControllerUnreachable", controller),
            ("LoadFleetTaskFailing", f'{source}, task="controllers"'),
        )
    ]
    asked = 'ALERTS{alertstate="firing", alertname!="LoadFleetHeartbeat", severity="critical"}'
    checks = [{"expr": asked, "eval_time": "50m", "exp_samples": firing}]
    series = [{"series": name, "values": values} for name, values in always.items()]
    gone = 'loadfleet_exporter_build_info{job="loadfleet", instance="a"}'
    series += [{"series": gone, "values": "1x60"}]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": checks}
    document = {"rule_files": [str(COMMITTED)], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(document))

    result = run("promtool", "test", "rules", tmp_path / "tests.yml")

    assert 0 == result.returncode, result.stdout + result.stderr
