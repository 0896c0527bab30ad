from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from exporter.alerts.expression import Writing
from exporter.alerts.recording import MACHINES
from exporter.alerts.rule import PREFIX, Links, Severity
from exporter.alerts.settings import AlertingSettings
from exporter.alerts.thresholds import RUNBOOK_URL
from exporter.commands.dashboards import dashboards
from tests.dashboards.boards import GRAFANA, filled
from tests.dashboards.grammar import selectors


if TYPE_CHECKING:
    from exporter.alerts.rule import Rule
    from exporter.dashboards.panels import Json


#: Settings with all alerts on, and with limits that occur nowhere else.
UNUSUAL = AlertingSettings.model_validate(
    {
        "thresholds": {
            "clock_skew": "1234s",
            "run_stuck": "2345s",
            "suite_overdue": "3456s",
            "certificate_expiry": "4567s",
            "agent_restarted": "5678s",
            "agents_down_ratio": 0.123,
            "stale_intervals": 67,
            "slower_than_usual": 1.789,
            "longer_than_usual": 2.891,
        }
    }
)


def explained(alerting: AlertingSettings) -> list[Rule]:
    """Return the rules that need a panel: all but the heartbeat, which always fires."""
    return [rule for rule in alerting.rules() if rule.severity is not Severity.NONE]


RUNBOOKS = GRAFANA.parent / "deploy" / "runbooks"
RULES = {rule.name: rule for rule in explained(UNUSUAL)}

every_alert = pytest.mark.parametrize("name", RULES)
every_row = pytest.mark.parametrize(
    "rule", explained(UNUSUAL), ids=lambda rule: f"{rule.name}-{rule.severity}"
)

#: The limits of some alerts' conditions.
LIMITS = {
    "AgentClockSkew": 1234,
    "ControllerClockSkew": 1234,
    "MemberClockSkew": 1234,
    "RecorderClockSkew": 1234,
    "RunStuck": 2345,
    "SuiteOverdue": 3456,
    "CertificateExpiring": 4567,
    "VendorCertificateExpiring": 4567,
    "WebCertificateExpiring": 4567,
    "AgentRestarted": 5678,
    "HalfOfAgentsDown": 0.123,
    "PollsStale": 67,
    "SuiteSlower": 1.789,
    "SuiteTooLong": 2.891,
}


BOARDS = {board.uid: board.json(UNUSUAL) for board in dashboards(UNUSUAL)}


def explaining(name: str) -> list[tuple[Json, Json]]:
    """Return the panels that explain an alert, each with its dashboard."""
    return [
        (board, panel)
        for board in BOARDS.values()
        for panel in board["panels"]
        if name in answers(panel)
    ]


def answers(panel: Json) -> set[str]:
    """Return the alerts whose runbooks a panel links to."""
    return {link["title"].removeprefix("Runbook: ") for link in panel.get("links", ())}


def asked(panel: Json) -> set[str | None]:
    """Return the metrics of a panel's queries, and those that its recorded series are made of."""
    queries = [filled(target["expr"]) for target in panel["targets"]]
    names = {selector.name for query in queries for selector in selectors(query)}
    kinds = re.findall(r'kind="(\w+)"', str(panel["targets"]))
    made = [
        promql
        for machine in MACHINES
        if machine.kind in kinds
        for name, promql in machine.rules(Writing())
        if name in names
    ]
    return names | {selector.name for promql in made for selector in selectors(promql)}


@every_alert
def test_an_alert_has_one_panel_that_explains_it(name: str) -> None:
    """Every alert must have exactly one panel that shows its cause."""
    assert 1 == len(explaining(name))


@every_alert
def test_that_panel_shows_what_the_alert_judges(name: str) -> None:
    """A panel without the alert's own metric explains nothing."""
    ((_, panel),) = explaining(name)
    # The metrics after the first one only exclude instances.
    (judged, *_) = selectors(RULES[name].expression.promql())

    assert judged.name in asked(panel)


@pytest.mark.parametrize(("alert", "limit"), LIMITS.items())
def test_that_panel_has_the_alerts_limit(alert: str, limit: float) -> None:
    """The panel's limit must be the one that its alert judges by."""
    ((_, panel),) = explaining(PREFIX + alert)

    assert f'"value": {limit}' in json.dumps(panel).replace(".0,", ",")


def test_no_limit_is_forgotten() -> None:
    """An alert with a limit must be in the list above."""
    numbers = set(map(str, LIMITS.values()))
    limited = {
        name.removeprefix(PREFIX)
        for name, rule in RULES.items()
        if any(number in rule.expression.promql() for number in numbers)
    }

    assert LIMITS.keys() == limited


@every_alert
def test_that_panel_links_to_the_alerts_runbook(name: str) -> None:
    """The panel must link to the runbook that its alert links to."""
    ((_, panel),) = explaining(name)
    links = Links(runbook_url=RUNBOOK_URL)
    expected = RULES[name].annotations(links)["runbook_url"].template

    assert expected in [link["url"] for link in panel["links"]]


@every_row
def test_an_alert_leads_to_the_dashboard_of_that_panel(rule: Rule) -> None:
    """The alert's link must lead to the dashboard that has its panel."""
    links = Links(runbook_url=RUNBOOK_URL, grafana_url="https://grafana.example.com")
    ((board, _),) = explaining(rule.name)
    expected = f"https://grafana.example.com/d/{board['uid']}"

    url, _, _ = rule.annotations(links)["dashboard_url"].template.partition("?")

    assert expected == url


@every_row
def test_its_runbook_names_that_dashboard(rule: Rule) -> None:
    """The runbook must name the dashboard that its alert links to."""
    ((board, _),) = explaining(rule.name)

    runbook = " ".join((RUNBOOKS / rule.runbook).read_text().split())

    assert f'"{board["title"]}"' in runbook


@pytest.mark.parametrize(
    ("changed", "left_out"),
    [
        (
            {"thresholds": {"clock_skew": "off", "run_stuck": "off"}},
            {"LoadFleetAgentClockSkew", "LoadFleetRunStuck"},
        ),
        (
            {"alerts": {"AgentUnreachable": {"off": True}, "LoadFleetTaskFailing": {"off": True}}},
            {"LoadFleetAgentUnreachable", "LoadFleetTaskFailing"},
        ),
    ],
    ids=["threshold", "alert"],
)
def test_what_is_off_is_not_linked(changed: dict[str, Any], left_out: set[str]) -> None:
    """A runbook of an alert that cannot fire misleads."""
    off = AlertingSettings.model_validate(changed)

    linked = {
        name
        for board in dashboards(off)
        for panel in board.json(off)["panels"]
        for name in answers(panel)
    }

    assert {rule.name for rule in explained(off)} == linked
    assert left_out.isdisjoint(linked)
