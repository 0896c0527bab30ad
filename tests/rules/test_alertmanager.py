from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.rules.support import DEPLOY, every_rule, run
from tests.support.processes import answers, fetch, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path

FILE = DEPLOY / "alertmanager" / "alertmanager.yml"
CONFIGURATION = yaml.safe_load(FILE.read_text())
NAMES = [rule.name for rule in every_rule()]

TARGET = {"job": "loadfleet", "instance": "localhost:10871"}

Labels = dict[str, str]


def alert(name: str, /, source: str = "prod", **labels: str) -> Labels:
    about = {"provider": "realload", "source": source} if source else {}
    return {"alertname": f"LoadFleet{name}", **TARGET, **about, **labels}


def test_amtool_finds_nothing_wrong() -> None:
    """Alertmanager must start with the file that is shipped."""
    result = run("amtool", "check-config", FILE)

    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("rule", every_rule(), ids=lambda rule: rule.name)
def test_alerts_go_where_they_should(rule: Any) -> None:
    """Critical alerts page, warnings become work, the rest disturbs nobody."""
    expected = {"critical": "page", "warning": "work", "info": "nobody"}[rule.severity]
    labels = (f"alertname={rule.name}", f"severity={rule.severity}", "source=prod")

    result = run("amtool", "config", "routes", "test", f"--config.file={FILE}", *labels)

    assert expected == result.stdout.strip(), result.stderr


def test_other_alerts_are_none_of_ours() -> None:
    """Users who add our routes to an Alertmanager of others do not want their pages."""
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


def test_notifications_are_grouped_by_source() -> None:
    """Fifty agents behind one portal are one message."""
    assert ["provider", "source"] == CONFIGURATION["route"]["group_by"]


@pytest.mark.parametrize("rule", CONFIGURATION["inhibit_rules"], ids=str)
def test_inhibitions_are_about_alerts_that_exist(rule: dict[str, list[str]]) -> None:
    """A misspelt name would silence nobody."""
    for matchers in (rule["source_matchers"], rule["target_matchers"]):
        found = set(NAMES)
        for matcher in matchers:
            match = re.fullmatch(r'alertname(=|!=|=~|!~)"(.+)"', matcher)
            assert match is not None, matcher
            matching = {name for name in NAMES if re.fullmatch(match[2], name)}
            assert matching, matcher
            found = found - matching if match[1].startswith("!") else found & matching
        assert found


#: What is there, and what of it is muted.
SITUATIONS: dict[str, tuple[list[Labels], set[str]]] = {
    "a source that is down stands for its targets": (
        [
            alert("SourceDown"),
            alert("AgentUnreachable", agent_id="1"),
            alert("AgentOutdated", agent_id="2"),
            alert("HalfOfAgentsDown"),
            alert("PollsStale", task="agents"),
            alert("SuiteFailed", suite_id="1"),
            alert("RunStuck", run_id="1"),
            alert("ReloadFailed", source=""),
        ],
        {
            "AgentUnreachable",
            "AgentOutdated",
            "HalfOfAgentsDown",
            "PollsStale",
            "SuiteFailed",
            "RunStuck",
        },
    ),
    "but not for those of another": (
        [alert("SourceDown"), alert("AgentUnreachable", source="lab", agent_id="1")],
        set(),
    ),
    "refused credentials are why it is down": (
        [alert("CredentialsRefused"), alert("SourceDown"), alert("AgentUnreachable")],
        {"SourceDown", "AgentUnreachable"},
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
    "without the exporter all it said is old": (
        [
            alert("ExporterGone", source=""),
            alert("SourceDown"),
            alert("AgentUnreachable"),
            alert("ReloadFailed", source=""),
            alert("HalfOfAgentsDown"),
        ],
        {"SourceDown", "AgentUnreachable", "ReloadFailed", "HalfOfAgentsDown"},
    ),
    "but not what another exporter says": (
        [alert("ExporterGone", source=""), alert("SourceDown", instance="other:10871")],
        set(),
    ),
}


#: Posted last: once it is muted, Alertmanager has thought about all before it.
CANARY = [
    alert("RecorderUnreachable", source="canary", instance="canary"),
    alert("RecorderClockSkew", source="canary", instance="canary"),
]


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_one_cause_is_one_notification(situation: str, tmp_path: Path) -> None:
    """A real Alertmanager must mute what follows from something else, and nothing besides."""
    alerts, muted = SITUATIONS[situation]
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
        posted = [{"labels": labels} for labels in (*alerts, *CANARY)]
        await fetch(f"{url}/api/v2/alerts", data=posted)

        async def muted_now() -> set[tuple[str, str]]:
            return {
                (one["labels"]["instance"], one["labels"]["alertname"].removeprefix("LoadFleet"))
                for one in json.loads(await fetch(f"{url}/api/v2/alerts"))
                if one["status"]["inhibitedBy"]
            }

        async def settled() -> bool:
            return ("canary", "RecorderClockSkew") in await muted_now()

        await until(settled)
        found = {name for instance, name in await muted_now() if instance != "canary"}

    assert muted == found
