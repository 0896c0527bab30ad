from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter.alerts.rule import Severity
from exporter.config.types import parse_duration
from exporter.sources.settings import STANDARD_INTERVAL_SECONDS as POLL_SECONDS
from tests.rules.support import DEPLOY, every_rule, run
from tests.support.processes import answers, fetch, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path

FILE = DEPLOY / "alertmanager" / "alertmanager.yml"
CONFIGURATION = yaml.safe_load(FILE.read_text())
NAMES = [rule.name for rule in every_rule()]

Labels = dict[str, str]


def alert(name: str, /, source: str = "prod", **labels: str) -> Labels:
    """Return the labels of an alert; one of the exporter itself has no source."""
    about = {"provider": "realload", "source": source} if source else {}
    return {"alertname": f"LoadFleet{name}", **about, **labels}


def test_amtool_finds_nothing_wrong() -> None:
    """Alertmanager must start with the file that is shipped."""
    result = run("amtool", "check-config", FILE)

    assert 0 == result.returncode, result.stdout + result.stderr


def test_amtool_finds_nothing_wrong_with_the_examples(tmp_path: Path) -> None:
    """The commented examples must be valid when they are uncommented."""
    path = uncommented(tmp_path)

    result = run("amtool", "check-config", path)

    assert 0 == result.returncode, result.stdout + result.stderr
    examples = yaml.safe_load(path.read_text())
    assert ["nights", "weekends"] == [each["name"] for each in examples["time_intervals"]]
    assert "opsgenie_configs" in examples["receivers"][-1]


@pytest.mark.parametrize("severity", Severity)
def test_alerts_go_where_their_severity_demands(severity: Severity) -> None:
    """Alerts must go to the receiver of their severity."""
    receivers = {"critical": "page", "warning": "work", "info": "log", "none": "heartbeat"}
    special = {("LoadFleetRunFailed", "warning"): "runs"}
    names = {rule.name for rule in every_rule() if severity == rule.severity}

    found = {name: routed(FILE, alertname=name, severity=severity, source="prod") for name in names}

    assert {name: special.get((name, severity), receivers[severity]) for name in names} == found


@pytest.mark.parametrize("name", ["AgentUnreachable", "SuiteFailed", "RunFailed", "StateDown"])
@pytest.mark.parametrize("severity", ["critical", "warning", "info"])
def test_alerts_follow_the_severity_that_users_give_them(severity: str, name: str) -> None:
    """A configured severity would mean little if it changed nothing."""
    found = routed(FILE, alertname=f"LoadFleet{name}", severity=severity)

    wanted = {"critical": "page", "warning": "work", "info": "log"}[severity]
    assert ("runs" if (name, severity) == ("RunFailed", "warning") else wanted) == found


def test_the_heartbeat_reaches_nobody_else() -> None:
    """A heartbeat must go to the receiver `heartbeat` only, whatever its severity."""
    found = {routed(FILE, alertname="LoadFleetHeartbeat", severity=each) for each in Severity}

    assert {"heartbeat"} == found


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"severity": "critical", "team": "payments"}, "page-payments"),
        ({"severity": "critical", "team": "other"}, "page"),
        ({"severity": "warning", "team": "payments"}, "work"),
        ({"severity": "critical", "site": "lab"}, "work"),
    ],
)
def test_the_examples_route_by_the_labels_of_sources(
    labels: Labels, receiver: str, tmp_path: Path
) -> None:
    """A source's labels are labels of its alerts."""
    path = uncommented(tmp_path)

    assert receiver == routed(path, alertname="LoadFleetAgentUnreachable", **labels)


def routed(path: Path, /, **labels: str) -> str:
    """Return the receivers of an alert."""
    pairs = (f"{name}={value}" for name, value in labels.items())
    result = run("amtool", "config", "routes", "test", f"--config.file={path}", *pairs)
    assert 0 == result.returncode, result.stderr
    return result.stdout.strip()


def uncommented(folder: Path) -> Path:
    """Write the file with its examples, as its head says, and return the path."""
    path = folder / "alertmanager.yml"
    path.write_text(re.sub(r"^#(?! \S)", "", FILE.read_text(), flags=re.MULTILINE))
    return path


def test_other_alerts_are_none_of_ours() -> None:
    """Alerts of other systems must not go to these receivers."""
    labels = ("alertname=NodeDown", "severity=critical")

    result = run("amtool", "config", "routes", "test", f"--config.file={FILE}", *labels)

    assert "nobody" == result.stdout.strip(), result.stderr


def test_secrets_are_files() -> None:
    """Users who fill the example in must not be led to write a secret into it."""
    keys = re.findall(
        r"(\w*(?:password|secret|token|routing_key|api_url|credentials)\w*):", FILE.read_text()
    )

    assert [] == [key for key in keys if not key.endswith("_file")]
    assert {"smtp_auth_password_file", "slack_api_url_file", "routing_key_file"} <= set(keys)


def test_notifications_are_grouped_by_name_source_and_preflight() -> None:
    """Fifty agents behind one portal are one message, the portal is another, and so is a test."""
    assert ["alertname", "provider", "source", "preflight"] == CONFIGURATION["route"]["group_by"]


def test_verdicts_are_grouped_by_suite_and_told_at_once() -> None:
    """Verdicts must be grouped by suite, with a group interval below that of the polls."""
    found = [
        each for severity in CONFIGURATION["route"]["routes"] for each in severity.get("routes", ())
    ]

    by_suite = ["alertname", "provider", "source", "suite_id"]
    assert [by_suite] * 3 == [each["group_by"] for each in found]
    assert all(parse_duration(each["group_wait"]) <= 10 for each in found)
    # A passed run lasts from one poll to the next, however often rules are evaluated.
    assert all(parse_duration(each["group_interval"]) * 2 < POLL_SECONDS for each in found)


def test_what_a_run_s_end_tells_is_not_taken_back() -> None:
    """A run that failed an hour ago has still failed."""
    (runs,) = [each for each in CONFIGURATION["receivers"] if each["name"] == "runs"]

    assert [False] == [each["send_resolved"] for each in runs["slack_configs"]]


@pytest.mark.parametrize("rule", CONFIGURATION["inhibit_rules"], ids=str)
def test_inhibitions_are_about_alerts_that_exist(rule: dict[str, list[str]]) -> None:
    """Every name in an inhibition must be that of an alert."""
    for matchers in (rule["source_matchers"], rule["target_matchers"]):
        found = set(NAMES)
        for matcher in matchers:
            match = re.fullmatch(r'alertname(=|!=|=~|!~)"(.+)"', matcher)
            assert match is not None, matcher
            matching = {name for name in NAMES if re.fullmatch(match[2], name)}
            assert len(matching) > match[2].count("|"), matcher
            found = found - matching if match[1].startswith("!") else found & matching
        assert found


HERE = {"job": "loadfleet", "instance": "localhost:10871"}

#: Firing alerts, and those of them that are muted.
SITUATIONS: dict[str, tuple[list[Labels], set[str]]] = {
    "a source that is down stands for its targets": (
        [
            alert("SourceDown"),
            alert("AgentUnreachable", agent_id="1"),
            alert("AgentOutdated", agent_id="2"),
            alert("HalfOfAgentsDown"),
            alert("TaskFailing", task="agents"),
            alert("NothingKnown", kind="agent"),
            alert("PollsStale", **HERE, task="agents"),
            alert("VendorSlow"),
            alert("SuiteUnhealthy", suite_id="1"),
            alert("RunStuck", run_id="1"),
        ],
        {
            "AgentUnreachable",
            "AgentOutdated",
            "HalfOfAgentsDown",
            "TaskFailing",
            "NothingKnown",
            "PollsStale",
            "VendorSlow",
            "SuiteUnhealthy",
            "RunStuck",
        },
    ),
    "but not for the exporter, nor for what may be the reason": (
        [
            alert("SourceDown"),
            alert("ExporterGone", source="", **HERE),
            alert("ReloadFailed", source="", **HERE),
            alert("Heartbeat", source=""),
            alert("SourceUnreachable", **HERE),
            alert("BudgetExhausted"),
            alert("VendorCertificateExpiring"),
        ],
        set(),
    ),
    "nor for verdicts, of which the next would not be told": (
        [
            alert("SourceDown"),
            alert("SuiteFailed", suite_id="1"),
            alert("SuiteSlower", suite_id="1"),
            alert("RunFailed", run_id="1"),
        ],
        set(),
    ),
    "nor for those of another": (
        [alert("SourceDown"), alert("AgentUnreachable", source="lab", agent_id="1")],
        set(),
    ),
    "one exporter that does not reach it stands for nothing": (
        [
            alert("SourceUnreachable", **HERE),
            alert("AgentUnreachable", agent_id="1"),
            alert("PollsStale", **HERE, task="agents"),
        ],
        set(),
    ),
    "refused credentials are why it is down": (
        [alert("CredentialsRefused"), alert("SourceDown"), alert("AgentUnreachable")],
        {"SourceDown", "AgentUnreachable"},
    ),
    "a task that fails is why it is old": (
        [
            alert("TaskFailing", task="agents"),
            alert("PollsStale", **HERE, task="agents"),
            alert("AgentUnreachable", agent_id="1"),
        ],
        {"PollsStale"},
    ),
    "but not why another task is": (
        [alert("TaskFailing", task="agents"), alert("PollsStale", **HERE, task="suites")],
        set(),
    ),
    "a source without agents stands for nothing": (
        [
            alert("NothingKnown", kind="agent"),
            alert("AgentUnreachable", agent_id="1"),
            alert("TaskFailing", task="clusters"),
        ],
        set(),
    ),
    "many agents that are down are one thing": (
        [
            alert("HalfOfAgentsDown"),
            alert("AgentUnreachable", agent_id="1"),
            alert("MemberUnreachable", agent_id="1", member_id="1"),
            alert("AgentOutdated", agent_id="2"),
            alert("ControllerUnreachable", controller="c"),
        ],
        {"AgentUnreachable", "MemberUnreachable"},
    ),
    "an agent that is down is a member that is down": (
        [
            alert("AgentUnreachable", agent_id="1"),
            alert("AgentClockSkew", agent_id="1"),
            alert("MemberUnreachable", agent_id="1", member_id="1"),
            alert("MemberClockSkew", agent_id="2", member_id="2"),
        ],
        {"AgentClockSkew", "MemberUnreachable"},
    ),
    "an agent that is too old is no member either": (
        [
            alert("AgentOutdated", agent_id="1"),
            alert("MemberUnreachable", agent_id="1", member_id="1"),
        ],
        {"MemberUnreachable"},
    ),
    "nor is a member that its controller finds too old": (
        [
            alert("MemberOutdated", cluster_id="7", member_id="1"),
            alert("MemberUnreachable", cluster_id="7", member_id="1"),
            alert("MemberClockSkew", cluster_id="7", member_id="2"),
        ],
        {"MemberUnreachable"},
    ),
    "the clock of a controller that is down is no matter": (
        [
            alert("ControllerUnreachable", controller="c"),
            alert("ControllerClockSkew", controller="c"),
            alert("RecorderClockSkew", recorder_id="1"),
        ],
        {"ControllerClockSkew"},
    ),
    "nor is that of a recorder": (
        [
            alert("RecorderUnreachable", recorder_id="1"),
            alert("RecorderClockSkew", recorder_id="1"),
        ],
        {"RecorderClockSkew"},
    ),
    "a test for which the fleet is not fit hides no cause, and no cause hides it": (
        [
            alert("NotFit", source="", preflight="nightly"),
            alert("SourceDown"),
            alert("CredentialsRefused", source="lab"),
            alert("HalfOfAgentsDown", source="other"),
        ],
        set(),
    ),
    "an exporter that is gone stands for nothing": (
        [
            alert("ExporterGone", source="", **HERE),
            alert("SourceDown", source="other"),
            alert("AgentUnreachable", agent_id="1"),
            alert("StateDown", source="", **HERE),
        ],
        set(),
    ),
}


#: Posted last: once it is muted, Alertmanager has processed all alerts before it.
CANARY = [
    alert("RecorderUnreachable", source="canary"),
    alert("RecorderClockSkew", source="canary"),
]


async def test_one_cause_is_one_notification(tmp_path: Path) -> None:
    """A real Alertmanager must mute what follows from something else, and nothing besides."""
    port = free_port()
    async with running(
        require("prometheus-alertmanager"),
        f"--config.file={FILE}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        folder=tmp_path,
        name="alertmanager",
    ) as process:
        url = f"http://127.0.0.1:{port}"
        await answers(f"{url}/-/ready", process)
        # Each situation has sources of its own.
        posted = [
            {"labels": {**each, **source_in(situation, each), "situation": situation}}
            for situation, (alerts, _) in SITUATIONS.items()
            for each in alerts
        ]
        await fetch(f"{url}/api/v2/alerts", data=posted)
        await fetch(f"{url}/api/v2/alerts", data=[{"labels": labels} for labels in CANARY])

        async def muted_now() -> list[Labels]:
            alerts = json.loads(await fetch(f"{url}/api/v2/alerts"))
            assert len(posted) <= len(alerts)
            return [each["labels"] for each in alerts if each["status"]["inhibitedBy"]]

        async def settled() -> bool:
            return any(each.get("source") == "canary" for each in await muted_now())

        await until(settled)
        muted = await muted_now()

    found = {
        situation: {
            each["alertname"].removeprefix("LoadFleet")
            for each in muted
            if each.get("situation") == situation
        }
        for situation in SITUATIONS
    }
    assert {situation: names for situation, (_, names) in SITUATIONS.items()} == found


def source_in(situation: str, labels: Labels) -> Labels:
    """Return the name that a source has in a situation."""
    return {"source": f"{labels['source']}: {situation}"} if "source" in labels else {}
