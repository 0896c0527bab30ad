from __future__ import annotations

from typing import Any

import pytest

from exporter.alerts.rule import Rule, Severity
from exporter.alerts.table import rules
from exporter.alerts.thresholds import AlertSettings, Thresholds


def table(**thresholds: Any) -> dict[str, Rule]:
    """Return the rules for some thresholds, given as in the file, by name without prefix.

    Of two rules with one name, the last one is returned.
    """
    found = rules(Thresholds.model_validate(thresholds))
    return {rule.name.removeprefix("LoadFleet"): rule for rule in found}


def test_everything_that_can_go_wrong_is_in_it() -> None:
    """The table must have exactly these alerts and severities, which users rely on."""
    expected = {
        Severity.CRITICAL: {
            "ExporterGone", "NoLeader", "CredentialsRefused", "SourceDown", "TaskFailing",
            "NothingKnown", "HalfOfAgentsDown", "ControllerUnreachable", "ClusterUnusable",
            "AgentUnreachable", "MemberUnreachable", "ControllerOutdated", "AgentOutdated",
            "MemberOutdated", "NotFit",
        },
        Severity.WARNING: {
            "ExporterGone", "TwoLeaders", "ExporterRestarting", "SourceUnreachable", "TaskFailing",
            "VendorSlow", "BudgetExhausted", "RecorderUnreachable", "RecorderOutdated",
            "LocationWithoutAgents", "ClusterOutdated", "AgentClockSkew", "ControllerClockSkew",
            "MemberClockSkew", "RecorderClockSkew", "SuiteFailed", "SuiteUnhealthy", "SuiteSlower",
            "SuiteTooLong", "RunFailed", "RunEngineErrors", "RunInternalError", "RunStuck",
            "PollsStale", "PollsSkipped", "ReloadFailed", "WebConfigRefused", "StateDown",
            "NotificationsFailing", "VendorCertificateExpiring", "WebCertificateExpiring",
            "CertificateExpiring", "AgentFlapping",
        },
        Severity.INFO: {"VendorSurprises", "AgentUnprotected", "AgentRestarted"},
        Severity.NONE: {"Heartbeat"},
    }  # fmt: skip

    found: dict[Severity, set[str]] = {severity: set() for severity in Severity}
    for rule in rules(Thresholds()):
        found[rule.severity].add(rule.name.removeprefix("LoadFleet"))

    assert expected == found


def test_no_name_is_there_twice_with_one_severity() -> None:
    """Alerts of the same name and labels could not be told apart."""
    found = [(rule.name, rule.severity) for rule in rules(Thresholds())]

    assert sorted(set(found)) == sorted(found)


@pytest.mark.parametrize(
    ("threshold", "gone"),
    [
        ("clock_skew", {f"{k}ClockSkew" for k in ("Agent", "Controller", "Member", "Recorder")}),
        ("run_stuck", {"RunStuck"}),
        (
            "certificate_expiry",
            {"CertificateExpiring", "VendorCertificateExpiring", "WebCertificateExpiring"},
        ),
        ("agent_restarted", {"AgentRestarted"}),
    ],
)
def test_what_is_off_is_left_out(threshold: str, gone: set[str]) -> None:
    """`off` must switch off its own alerts and no others."""
    assert table().keys() - gone == table(**{threshold: "off"}).keys()


def test_overdue_suites_are_reported_on_request() -> None:
    """Only the user knows how often a suite should run."""
    assert {"SuiteOverdue"} == table(suite_overdue="1d").keys() - table().keys()


@pytest.mark.parametrize(
    ("name", "threshold", "value", "part"),
    [
        ("AgentClockSkew", "clock_skew", "90s", "> 90"),
        ("MemberClockSkew", "clock_skew", "250ms", "> 0.25"),
        ("RunStuck", "run_stuck", "1h", "> 3600 "),
        ("CertificateExpiring", "certificate_expiry", "30d", "< 2592000 "),
        ("AgentRestarted", "agent_restarted", "5m", "< 300"),
        ("HalfOfAgentsDown", "agents_down_ratio", "0.25", ">= 0.25 "),
        ("PollsStale", "stale_intervals", "3", "> 3 * "),
        ("SuiteOverdue", "suite_overdue", "2d", "> 172800 "),
        ("SuiteSlower", "slower_than_usual", "1.25", "> 1.25 * "),
        ("SuiteTooLong", "longer_than_usual", "3", "> 3 * "),
    ],
)
def test_thresholds_come_from_the_configuration(
    name: str, threshold: str, value: str, part: str
) -> None:
    """The condition compares with the user's value."""
    assert part in table(**{threshold: value})[name].expression.promql()


def test_the_text_tells_the_limit_that_holds() -> None:
    """A limit in a text must be that of the condition."""
    assert "At least 25% of" in table(agents_down_ratio=0.25)["HalfOfAgentsDown"].description


def test_trials_can_be_made_short() -> None:
    """All times of waiting shrink alike, and nothing else."""
    scaled, usual = table(for_scale=0.01)["AgentUnreachable"], table()["AgentUnreachable"]

    assert (3.0, 3.0) == (scaled.hold_seconds, scaled.keep_seconds)
    assert usual.expression == scaled.expression


@pytest.mark.parametrize("name", ["RecorderUnreachable", "LoadFleetRecorderUnreachable"])
def test_each_alert_can_be_changed(name: str) -> None:
    """Users may change the severity and the waiting time of each alert."""
    settings = AlertSettings.model_validate({"severity": "critical", "for": "10m"})
    found = rules(Thresholds(), {name: settings})

    (changed,) = (rule for rule in found if rule.name == "LoadFleetRecorderUnreachable")

    assert (Severity.CRITICAL, 600.0) == (changed.severity, changed.hold_seconds)
    assert table()["AgentUnreachable"] in found


def test_an_alert_that_is_off_is_left_out() -> None:
    """All its rows are, and no others."""
    off = AlertSettings.model_validate({"off": True})

    found = {rule.name for rule in rules(Thresholds(), {"TaskFailing": off})}

    assert {"LoadFleetTaskFailing"} == {rule.name for rule in rules(Thresholds())} - found


def test_what_needs_history_or_others_is_left_to_prometheus() -> None:
    """The daemon must evaluate all alerts but these, which need a history or other exporters."""
    expected = {
        "ExporterGone", "ExporterRestarting", "SourceUnreachable", "BudgetExhausted",
        "VendorSurprises", "PollsSkipped", "AgentFlapping", "NoLeader", "TwoLeaders",
    }  # fmt: skip

    assert expected == {name for name, rule in table().items() if not rule.built_in}
