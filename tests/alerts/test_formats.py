from __future__ import annotations

from typing import Any

import yaml

from exporter.alerts.formats import RulesOptions, prometheus_rule, rules_file
from exporter.alerts.settings import AlertingSettings


def text_of(runbook_url: str = "https://example.com/", **thresholds: Any) -> str:
    """Return the file."""
    settings = AlertingSettings.model_validate(
        {
            "thresholds": thresholds,
            "runbook_url": runbook_url,
            "grafana_url": "https://grafana.example/",
        }
    )
    return rules_file(settings.rules(), RulesOptions.of(settings, board_url="https://fleet/"))


def groups(**given: Any) -> dict[str, Any]:
    """Return the groups of the file by their names."""
    return {group["name"]: group["rules"] for group in yaml.safe_load(text_of(**given))["groups"]}


def alerts(**given: Any) -> dict[str, dict[str, Any]]:
    """Return the alerts by their names."""
    return {rule["alert"]: rule for rule in groups(**given)["loadfleet-alerts"] if "alert" in rule}


def test_an_alert_is_written_whole() -> None:
    """Condition, times, severity and texts are what Prometheus needs."""
    rule = alerts()["LoadFleetReloadFailed"]

    assert {
        "alert": "LoadFleetReloadFailed",
        "expr": "last_over_time(loadfleet_exporter_config_last_reload_successful[3m]) == 0",
        "for": "5m",
        "keep_firing_for": "5m",
        "labels": {"severity": "warning"},
        "annotations": {
            "summary": "The exporter could not reload its configuration.",
            "description": "Exporter {{ $labels.instance }} refused the newest configuration and"
            " keeps the one before. A restart would fail.",
            "runbook_url": "https://example.com/LoadFleetReloadFailed.md",
            "board_url": "https://fleet/",
            "dashboard_url": "https://grafana.example/d/loadfleet-exporter",
        },
    } == rule


def test_an_alert_about_a_target_goes_on_while_nothing_is_known_of_it() -> None:
    """The second half is the alert's own series, for as long as neither target nor list is read."""
    condition = alerts()["LoadFleetSuiteUnhealthy"]["expr"]

    assert (
        "max without (instance, pod, container, endpoint, node, prometheus_replica)"
        " (last_over_time(loadfleet_suite_healthy[3m])) == 0"
        " or max without (alertname, alertgroup, alertstate, severity)"
        ' (ALERTS{alertname="LoadFleetSuiteUnhealthy", alertstate="firing", severity="warning"})'
        ' and on (provider, source) source_kind:loadfleet_targets:unknown{kind="suite"}'
        " unless on (provider, source, suite_id) (last_over_time(loadfleet_suite_running[1m30s]))"
    ) == condition


def test_what_is_recorded_for_alerts_comes_before_them() -> None:
    """Rules of a group are evaluated in their order, and alerts read what is recorded."""
    kinds = ["alert" in rule for rule in groups()["loadfleet-alerts"]]

    assert sorted(kinds) == kinds
    assert not kinds[0]


def test_runbooks_can_be_elsewhere() -> None:
    """With or without a slash at its end, the address is a folder."""
    found = {
        rule["annotations"]["runbook_url"].rsplit("/", 1)[0]
        for rule in alerts(runbook_url="https://wiki.example.com/loadfleet").values()
    }

    assert {"https://wiki.example.com/loadfleet"} == found


def test_no_time_of_waiting_is_not_written() -> None:
    """Prometheus takes the absence for none."""
    found = alerts(for_scale=0)

    assert not any({"for", "keep_firing_for"} & rule.keys() for rule in found.values())


def test_a_trial_is_short_in_all_its_times() -> None:
    """The scale holds for windows and for the day after which nothing goes on, too."""
    found = text_of(for_scale=0.1)

    assert "for: 30s\n" in found
    assert "[2h24m]" in found
    assert "[18s]" in found


def test_availability_is_recorded_by_source() -> None:
    """Numerator and denominator are kept apart, or months could not be averaged."""
    found = {rule["record"]: rule["expr"] for rule in groups()["loadfleet-availability"]}

    assert (
        "sum without (agent_id, agent, instance, pod, container, endpoint, node,"
        " prometheus_replica)"
    ) in found["source:loadfleet_agent_up:sum"]
    assert {"sum", "count"} == {name.rsplit(":", 1)[1] for name in found}


def test_the_operator_gets_the_same_groups() -> None:
    """A resource is the file with a head; its comments stay on top."""
    text = text_of()

    resource = prometheus_rule(text)

    document = yaml.safe_load(resource)
    assert yaml.safe_load(text) == document.pop("spec")
    assert {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "loadfleet-exporter"},
    } == document
    assert resource.startswith("# Recording and alerting rules")
