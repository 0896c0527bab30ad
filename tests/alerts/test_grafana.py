"""Rules of Grafana's own: what it takes, and what they mean there."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from exporter.alerts.formats import RulesOptions
from exporter.alerts.grafana import DATASOURCE_UID, provisioning
from exporter.alerts.settings import AlertingSettings
from exporter.alerts.table import EVERYTHING
from tests.deploy.tools import tool
from tests.support.servers import require


SCHEMA = Path(__file__).parent / "grafana.schema.json"

DATASOURCES = Path(__file__).parents[2] / "grafana/provisioning/datasources/prometheus.yml"


def text_of(**alerting: Any) -> str:
    """Return the file for a configuration."""
    settings = AlertingSettings.model_validate({"thresholds": EVERYTHING, **alerting})
    options = RulesOptions.of(settings, board_url="https://fleet.example")
    return provisioning(settings.rules(), options, "prom-uid")


@cache
def rules() -> dict[str, dict[str, Any]]:
    """Return all rules by their titles."""
    (group,) = yaml.safe_load(text_of())["groups"]
    found = {rule["title"]: rule for rule in group["rules"]}
    assert len(found) == len(group["rules"])
    return found


def condition(title: str) -> str:
    text: str = rules()[title]["data"][0]["model"]["expr"]
    return text


def promtool(folder: Path, **document: Any) -> subprocess.CompletedProcess[str]:
    """Check a file of rules, or run a file of tests."""
    path = folder / "document.yml"
    path.write_text(yaml.safe_dump(document))
    verb = ("test", "rules") if "tests" in document else ("check", "rules")
    return subprocess.run(
        [require("promtool"), *verb, str(path)], capture_output=True, text=True, check=False
    )


def test_it_keeps_the_schema(tmp_path: Path) -> None:
    """Grafana does not start with a file of rules that it cannot read."""
    paths = [tmp_path / f"{scale}.json" for scale in (1, 0.0125, 0)]
    for path in paths:
        text = text_of(thresholds={"for_scale": float(path.stem)})
        # JSON, because the tool reads YAML slowly.
        path.write_text(json.dumps(yaml.safe_load(text)))

    checked = subprocess.run(
        [tool("check-jsonschema"), "--schemafile", SCHEMA, *paths],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == checked.returncode, checked.stdout + checked.stderr


def test_every_condition_is_promql(tmp_path: Path) -> None:
    """The data source gets what Prometheus can read."""
    checks = [{"record": "x", "expr": condition(title)} for title in rules()]

    checked = promtool(tmp_path, groups=[{"name": "conditions", "rules": checks}])

    assert 0 == checked.returncode, checked.stdout + checked.stderr


def test_the_data_source_is_the_shipped_one_unless_named() -> None:
    """The file fits the provisioning beside it, and any other Grafana."""
    (shipped,) = yaml.safe_load(DATASOURCES.read_text())["datasources"]

    asked = {rule["data"][0]["datasourceUid"] for rule in rules().values()}
    written = {rule["data"][0]["model"]["datasource"]["uid"] for rule in rules().values()}

    assert DATASOURCE_UID == shipped["uid"]
    assert {"prom-uid"} == asked == written


def test_a_value_of_zero_fires() -> None:
    """Grafana takes 0 for no alert, and an agent that is down has the value 0."""
    found = {rule["data"][1]["model"]["expression"] for rule in rules().values()}

    assert {"1 || $A"} == found
    assert {"B"} == {rule["condition"] for rule in rules().values()}


def test_nothing_rests_on_series_that_only_prometheus_rules_make() -> None:
    """No rule may need `ALERTS` or recorded series: Grafana's rules write neither."""
    made = [title for title in rules() if "ALERTS" in condition(title)]
    recorded = [title for title in rules() if ":loadfleet_" in condition(title)]

    assert [] == made
    assert [] == recorded


def test_an_exporter_that_leaves_the_discovery_is_told(tmp_path: Path) -> None:
    """The alert must fire when an exporter leaves the service discovery."""
    source = 'provider="realload", source="{0}", job="loadfleet", instance="{0}:10871"'
    metrics = (
        "loadfleet_source_up",
        "loadfleet_exporter_build_info",
        "loadfleet_exporter_poll_interval_seconds",
    )
    stays = [{"series": f"{name}{{{source.format('a')}}}", "values": "1x60"} for name in metrics]
    leaves = [
        {"series": f"{name}{{{source.format('b')}}}", "values": "1x30 stale"} for name in metrics
    ]
    labels = '{provider="realload", source="b", severity="critical"}'
    gone = {"labels": labels, "value": 1}
    asked = {"expr": condition("LoadFleetExporterGone")}
    tests = [
        {**asked, "eval_time": "30m", "exp_samples": []},
        {**asked, "eval_time": "40m", "exp_samples": [gone]},
    ]

    checked = promtool(
        tmp_path,
        tests=[{"interval": "1m", "input_series": stays + leaves, "promql_expr_test": tests}],
    )

    assert 0 == checked.returncode, checked.stdout + checked.stderr


def test_two_severities_of_one_name_are_one_rule(tmp_path: Path) -> None:
    """A folder has each title once, so the condition says which severity it is."""
    source = 'provider="realload", source="prod"'
    down = [
        {"series": f'loadfleet_source_task_up{{{source}, task="{task}"}}', "values": "0x9"}
        for task in ("agents", "runs")
    ]
    expected = [
        {"labels": f'{{{source}, task="agents", severity="critical"}}', "value": 0},
        {"labels": f'{{{source}, task="runs", severity="warning"}}', "value": 0},
    ]
    asked = {"expr": condition("LoadFleetTaskFailing"), "eval_time": "5m"}

    checked = promtool(
        tmp_path,
        tests=[
            {
                "interval": "1m",
                "input_series": down,
                "promql_expr_test": [{**asked, "exp_samples": expected}],
            }
        ],
    )

    assert {} == rules()["LoadFleetTaskFailing"]["labels"]
    assert 0 == checked.returncode, checked.stdout + checked.stderr


def test_without_an_answer_of_prometheus_one_alert_fires_and_the_heartbeat_ends() -> None:
    """Without an answer of Prometheus, one alert must fire, the heartbeat end, and others stay."""
    states = {title: rule["execErrState"] for title, rule in rules().items()}

    assert "Alerting" == states.pop("LoadFleetExporterGone")
    assert "OK" == states.pop("LoadFleetHeartbeat")
    assert {"KeepLast"} == set(states.values())


def test_what_holds_for_nothing_is_well() -> None:
    """A condition that is over has no series, which Grafana would call no data."""
    assert {"OK"} == {rule["noDataState"] for rule in rules().values()}


def test_a_series_that_is_gone_ends_its_alert_as_late_as_prometheus_would() -> None:
    """The times are those of the table."""
    agent, suite = rules()["LoadFleetAgentUnreachable"], rules()["LoadFleetSuiteFailed"]

    assert ("5m", "5m", 5) == (
        agent["for"],
        agent["keepFiringFor"],
        agent["missing_series_evals_to_resolve"],
    )
    assert ("0s", "0s", 1) == (
        suite["for"],
        suite["keepFiringFor"],
        suite["missing_series_evals_to_resolve"],
    )


def test_texts_are_templates_of_grafana() -> None:
    """Labels are where Prometheus has them, values elsewhere, and nothing can be looked up."""
    texts = {title: " ".join(rule["annotations"].values()) for title, rule in rules().items()}

    assert (
        "Agent {{ $labels.agent }} (id {{ $labels.agent_id }})"
        in (texts["LoadFleetAgentUnreachable"])
    )
    assert "{{ $values.A.Value | humanizeDuration }}" in texts["LoadFleetPollsStale"]
    assert (
        "https://fleet.example/target?source={{ $labels.source | urlquery }}"
        in (texts["LoadFleetAgentUnreachable"])
    )
    assert [] == [
        title
        for title, text in texts.items()
        if "$value " in text or "query }}" in (text.replace("urlquery }}", ""))
    ]


def test_what_is_changed_of_alerts_holds_here_too() -> None:
    """Changes of alerts in the configuration must apply to Grafana's rules too."""
    changed = {
        "RecorderUnreachable": {"severity": "critical", "for": "10m"},
        "LoadFleetHeartbeat": {"off": True},
    }
    (group,) = yaml.safe_load(text_of(alerts=changed))["groups"]

    found = {rule["title"]: rule for rule in group["rules"]}

    assert "LoadFleetHeartbeat" not in found
    assert ("critical", "10m") == (
        found["LoadFleetRecorderUnreachable"]["labels"]["severity"],
        found["LoadFleetRecorderUnreachable"]["for"],
    )
