"""Notifications that people read: the deployed routes and texts, through a real Alertmanager."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import pytest
import yaml

from tests.rules.support import DEPLOY
from tests.support.processes import answers, fetch, free_port, running
from tests.support.receivers import Notification, Receivers, receivers
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


FILE = DEPLOY / "alertmanager" / "alertmanager.yml"

#: The external URL of Alertmanager.
EXTERNAL = "https://alerts.example.com/am"

#: The kinds of notification by severity.
KINDS = {"critical": ("pagerduty",), "warning": ("slack", "mail", "webhook")}

#: Kinds whose texts this project writes.
TEXTS = ("pagerduty", "slack", "mail")

#: Sizes of a group: one alert, more than a text lists, and alerts of different names.
SIZES = {"one": 1, "many": 25, "mixed": 2}

#: States of a group in the end.
FATES = ("firing", "partly", "resolved")

NAMES = {"critical": "AgentUnreachable", "warning": "RecorderUnreachable"}

#: Characters of a source's name that a link must encode.
STRANGE = ' & "co" + ü'


class Alert(NamedTuple):
    """An alert as the table makes them; the later the number, the later it began."""

    name: str
    severity: str
    labels: dict[str, str]
    number: int = 0
    annotations: dict[str, str] | None = None

    @property
    def target(self) -> str:
        return f"target-{self.number:02}. of {self.labels.get('source', '')}"

    @property
    def all_labels(self) -> dict[str, str]:
        return {"alertname": f"LoadFleet{self.name}", "severity": self.severity, **self.labels}

    def posted(self, *, ended: bool = False) -> dict[str, Any]:
        now = datetime.now(UTC)
        alert: dict[str, Any] = {
            "labels": self.all_labels,
            "annotations": self.annotations
            if self.annotations is not None
            else {
                "summary": f"{self.name} in one sentence.",
                "description": f"There is {self.target}, on host h.",
                "runbook_url": f"https://board.example/runbooks/LoadFleet{self.name}",
                "board_url": f"https://board.example/target?id={self.number}",
                "dashboard_url": "https://grafana.example/d/loadfleet",
            },
            "startsAt": (now - timedelta(milliseconds=100 - self.number)).isoformat(),
        }
        if ended:
            alert["endsAt"] = now.isoformat()
        return alert


def group(severity: str, size: str, fate: str) -> list[Alert]:
    """Return a group's alerts; of mixed ones the second is another and has begun later."""
    names = [NAMES[severity]] * SIZES[size]
    about = {"provider": "realload", "source": f"{severity}-{size}-{fate}{STRANGE}"}
    if size == "mixed":
        names[-1] = "ControllerUnreachable"
        about["regrouped"] = "yes"
    return [
        Alert(name, severity, {**about, "target_id": str(number)}, number)
        for number, name in enumerate(names)
    ]


GROUPS = {
    (severity, size, fate): group(severity, size, fate)
    for severity in KINDS
    for size in SIZES
    for fate in FATES
    if (size, fate) != ("one", "partly")
}

#: The groups, once for each kind of notification.
CASES = [(*case, kind) for case in GROUPS for kind in KINDS[case[0]]]


def of(source: str, name: str, severity: str, /, **labels: str) -> Alert:
    """Return an alert of a source of its own."""
    return Alert(name, severity, {"provider": "realload", "source": source, **labels})


GONE = [
    Alert(
        "ExporterGone",
        "critical",
        {"job": "loadfleet", "instance": f"gone-{number}:10871"},
        number,
        {"summary": "No scrape.", "description": f"The exporter gone-{number}:10871 is gone."},
    )
    for number in range(3)
]
HEARTBEAT = Alert("Heartbeat", "none", {}, 0, {"summary": "The heartbeat."})
PROTECTION = of("information", "AgentUnprotected", "info")
BARE = [of("bare", "AgentUnreachable", severity)._replace(annotations={}) for severity in KINDS]
LONG = of("long", "HalfOfAgentsDown", "critical")._replace(
    annotations={"summary": "Much.", "description": "of long " + "ä" * 3000}
)
COMMAND = of("command", "RecorderUnreachable", "warning")._replace(
    annotations={"summary": "It.", "description": "command <!channel> & more"}
)
WORSE = [of("worse", "AgentUnreachable", "critical"), of("worse", "SourceDown", "critical")]
FLIP = of("flip", "SuiteFailed", "warning", suite_id="7")
RUNS = [
    of("runs", "RunFailed", "warning", run_id=f"{number}")._replace(number=number)
    for number in (1, 2)
]
SUITE_RUN = of("runs", "RunFailed", "warning", run_id="3", suite_id="9")._replace(number=3)
UNTOLD = [
    of("untold", "RecorderClockSkew", "none"),
    Alert("ThatOfOthers", "critical", {"alertname": "NodeDown", "source": "untold"}),
]


class Day(NamedTuple):
    """The notifications sent, and the alerts that the link to each silence matches."""

    told: Receivers
    matched: dict[str, set[str]]

    def last(self, case: tuple[str, str, str], kind: str) -> Notification:
        """Return the newest notification about a group."""
        return self.told.about("-".join(case), kind)[-1]


def quick(receivers: Receivers) -> dict[str, Any]:
    """Return the deployed configuration with short times and the test's receivers."""
    configuration: dict[str, Any] = yaml.safe_load(FILE.read_text())
    configuration["global"] = {
        "smtp_smarthost": receivers.smarthost,
        "smtp_from": "loadfleet@example.com",
        "smtp_require_tls": False,
        "slack_api_url": f"{receivers.url}/slack",
    }
    waiting = [configuration["route"]]
    while waiting:
        route = waiting.pop()
        waiting += route.get("routes", [])
        route |= {"group_wait": "1s", "group_interval": "500ms"}
    first, *others = configuration["route"]["routes"]
    first["repeat_interval"] = "1s"
    regrouped = [
        {
            "matchers": ['regrouped="yes"', f'severity="{severity}"'],
            "receiver": receiver,
            "group_by": ["provider", "source"],
        }
        for severity, receiver in (("critical", "page"), ("warning", "work"))
    ]
    configuration["route"]["routes"] = [first, *regrouped, *others]
    for receiver in configuration["receivers"]:
        for pager in receiver.get("pagerduty_configs", ()):
            del pager["routing_key_file"]
            pager |= {"routing_key": "x", "url": f"{receivers.url}/pagerduty"}
        for hook in receiver.get("webhook_configs", ()):
            hook.pop("http_config", None)
            hook["url"] = f"{receivers.url}/hook/{receiver['name']}"
    return configuration


@asynccontextmanager
async def alertmanager(folder: Path, configuration: dict[str, Any]) -> AsyncIterator[str]:
    """Run Alertmanager and yield its URL."""
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    async with running(
        require("prometheus-alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.external-url={EXTERNAL}",
        "--web.route-prefix=/",
        "--cluster.listen-address=",
        folder=folder,
        name="alertmanager",
    ) as process:
        url = f"http://127.0.0.1:{port}"
        await answers(f"{url}/-/ready", process)
        yield url


class Stage:
    """An Alertmanager to post alerts to, and the notifications that it sends."""

    def __init__(self, url: str, told: Receivers) -> None:
        self.url = url
        self.told = told

    async def post(self, *alerts: Alert, ended: bool = False) -> None:
        posted = [alert.posted(ended=ended) for alert in alerts]
        assert "" == await fetch(f"{self.url}/api/v2/alerts", data=posted)

    async def until_told(self, count: int, kind: str, *names: str) -> None:
        for name in names:
            # The assertion below names the missing notification.
            with contextlib.suppress(TimeoutError):
                await until(lambda: len(self.told.about(name, kind)) >= count, timeout_seconds=20)  # noqa: B023 - awaited
            assert count <= len(self.told.about(name, kind)), (name, kind)

    async def until_groups_are_told(self, **counts: int) -> None:
        for case in GROUPS:
            for kind in KINDS[case[0]]:
                await self.until_told(counts[case[2]], kind, "-".join(case))


async def played(folder: Path) -> Day:
    """Play all events of the tests."""
    async with receivers() as told, alertmanager(folder, quick(told)) as url:
        stage = Stage(url, told)
        begin = [alert for alerts in GROUPS.values() for alert in alerts]
        single = [*GONE, HEARTBEAT, PROTECTION, *BARE, LONG, COMMAND, *UNTOLD, WORSE[0], FLIP]
        await stage.post(*begin, *single, *RUNS[:1], SUITE_RUN)
        await stage.until_groups_are_told(firing=1, partly=1, resolved=1)
        await stage.until_told(1, "pagerduty", "gone-0", "%22bare%22", "of long", "worse")
        await stage.until_told(1, "slack", "flip", "target-01. of runs", "command", "information")
        matched = {link: await matches(url, link) for link in map(silence, told.told) if link}

        partly = [alerts[0] for case, alerts in GROUPS.items() if case[2] == "partly"]
        whole = [
            each for case, alerts in GROUPS.items() if case[2] == "resolved" for each in alerts
        ]
        await stage.post(*partly, *whole, FLIP, *RUNS[:1], ended=True)
        await stage.post(WORSE[1], RUNS[1])
        await stage.until_groups_are_told(firing=1, partly=2, resolved=2)
        await stage.until_told(2, "pagerduty", "worse")
        await stage.until_told(2, "slack", "flip")
        await stage.until_told(1, "slack", "target-02. of runs")
        for count in (3, 5):
            await stage.post(FLIP)
            await stage.until_told(count, "slack", "flip")
            await stage.post(FLIP, ended=True)
            await stage.until_told(count + 1, "slack", "flip")
        await stage.until_told(2, "webhook", "heartbeat")
    return Day(told, matched)


def silence(notification: Notification) -> str:
    """Return the link to a silence, or nothing."""
    found = re.search(
        rf"{re.escape(EXTERNAL)}/#/silences/new\?filter=\S+",
        " ".join((notification.text, *notification.links)),
    )
    return found[0] if found else ""


async def matches(url: str, link: str) -> set[str]:
    """Return which alerts Alertmanager finds with the matchers of a link, as Elm decodes it."""
    text = unquote(urlsplit(link).fragment.partition("?filter=")[2])
    matcher = r'\w+="(?:[^"\\]|\\.)*"'
    assert re.fullmatch(rf"\{{{matcher}(,{matcher})*\}}", text), text
    query = "&".join(f"filter={quote(one)}" for one in re.findall(matcher, text))
    found = json.loads(await fetch(f"{url}/api/v2/alerts?{query}"))
    return {json.dumps(one["labels"], sort_keys=True) for one in found}


def labels_of(*alerts: Alert) -> set[str]:
    return {json.dumps(alert.all_labels, sort_keys=True) for alert in alerts}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """Play it once for all tests."""
    return asyncio.run(played(tmp_path_factory.mktemp("day")))


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_titles_say_what_and_where(case: tuple[str, str, str, str], day: Day) -> None:
    """A title must have the alert's summary and its source."""
    severity, size, fate, kind = case
    told = day.last((severity, size, fate), kind)

    assert f"{GROUPS[severity, size, fate][-1].name} in one sentence." in told.title
    assert f"{severity}-{size}-{fate}{STRANGE}" in told.title or kind == "webhook"


@pytest.mark.parametrize("case", [each for each in CASES if each[3] in TEXTS], ids="-".join)
def test_titles_tell_firing_from_resolved(case: tuple[str, str, str, str], day: Day) -> None:
    """A title must say whether alerts fire or have ended, and count none as 0."""
    severity, size, fate, kind = case
    told = day.last((severity, size, fate), kind)

    assert ("resolved" == fate) == told.resolved
    assert ("resolved" == fate) == told.title.upper().startswith("RESOLVED")
    assert not re.search(r"\b0\b", told.title)


@pytest.mark.parametrize("case", [each for each in CASES if each[3] in TEXTS], ids="-".join)
def test_titles_say_that_there_is_something_else(case: tuple[str, str, str, str], day: Day) -> None:
    """A title must say that the group has alerts of other kinds, unless only one is left."""
    severity, size, fate, kind = case
    told = day.last((severity, size, fate), kind)

    wanted = "several kinds" if kind == "pagerduty" else "other kinds"
    assert (size == "mixed" and fate != "partly") == (wanted in told.title)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_texts_name_ten_targets_and_the_newest(case: tuple[str, str, str, str], day: Day) -> None:
    """A text must name ten targets at most, the newest among them."""
    severity, size, fate, kind = case
    alerts = GROUPS[severity, size, fate]
    told = day.last((severity, size, fate), kind)
    read = told.title + told.text

    named = {alert.number for alert in alerts if f"There is target-{alert.number:02}." in read}
    assert SIZES[size] - 1 in named
    if size != "many" or kind == "webhook":
        assert set(range(SIZES[size])) == named
    else:
        assert 10 <= len(named) <= 12
        assert f"and {(SIZES[size] - (fate == 'partly')) - 10} more" in told.text


@pytest.mark.parametrize("case", [each for each in CASES if each[3] in TEXTS], ids="-".join)
def test_texts_have_links(case: tuple[str, str, str, str], day: Day) -> None:
    """Target, runbook and dashboard are one touch away; the target's of each in a group."""
    severity, size, fate, kind = case
    told = day.last((severity, size, fate), kind)
    read = " ".join((told.text, *told.links))

    assert "https://board.example/target?id=" in read
    assert f"https://board.example/runbooks/LoadFleet{NAMES[severity]}" in read
    assert (size == "mixed") == ("runbooks/LoadFleetControllerUnreachable" in read)
    assert "https://grafana.example/d/loadfleet" in read


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("size", SIZES)
def test_the_link_to_a_silence_matches_the_group_alone(size: str, kind: str, day: Day) -> None:
    """The link to a silence must match the alerts of its group, and no others."""
    severity = "critical" if kind == "pagerduty" else "warning"
    told = day.last((severity, size, "firing"), kind)

    assert labels_of(*GROUPS[severity, size, "firing"]) == day.matched[silence(told)]


def test_the_link_to_a_silence_tells_runs_of_suites_from_others(day: Day) -> None:
    """Runs without a suite are a group, too, and that is not all runs."""
    told = day.told.about("target-01. of runs", "slack")[0]

    assert labels_of(RUNS[0]) == day.matched[silence(told)]


def test_a_second_worse_event_is_an_incident_of_its_own(day: Day) -> None:
    """A pager does not ring for what it takes for an update."""
    agent, portal = day.told.about("worse", "pagerduty")[:2]

    assert "AgentUnreachable" in agent.title
    assert "SourceDown" in portal.title
    assert agent.key != portal.key


def test_several_exporters_that_are_gone_are_one_page(day: Day) -> None:
    """Several exporters that are gone must be one page, which names each."""
    (told,) = day.told.about("gone-0", "pagerduty")

    names = {f"gone-{number}:10871" for number in range(3)}
    assert names == set(re.findall(r"gone-\d:10871", told.title))
    assert names == set(re.findall(r"The exporter (gone-\d:10871)", told.text))


def test_a_suite_that_fails_every_second_run_is_told_each_time(day: Day) -> None:
    """A suite that fails every second run must be notified each time."""
    told = day.told.about("flip", "slack")

    assert [False, True] * 3 == [one.resolved for one in told]


def test_a_failed_run_does_not_resolve(day: Day) -> None:
    """An hour after its end it is forgotten, which is no news."""
    told = day.told.about("of runs")

    assert {("slack", False)} == {(one.kind, one.resolved) for one in told}
    assert "target-02" in told[-1].text
    assert "target-01" not in told[-1].text


def test_the_heartbeat_reaches_its_service_and_no_person(day: Day) -> None:
    """The heartbeat must go to its service only."""
    told = day.told.about("heartbeat")

    assert {("webhook", "heartbeat", False)} == {one[:3] for one in told}


def test_information_goes_to_a_quiet_channel(day: Day) -> None:
    """Alerts of severity info must go to the quiet channel once."""
    told = day.told.about("information")

    assert [("slack", "#load-tests-log")] == [one[:2] for one in told]


def test_what_is_not_ours_is_told_to_nobody(day: Day) -> None:
    """Users add our routes to an Alertmanager that serves others."""
    assert [] == day.told.about("untold")


@pytest.mark.parametrize("severity", KINDS)
def test_alerts_without_annotations_have_a_title(severity: str, day: Day) -> None:
    """Alerts without annotations must have a title and a text."""
    told = [one for one in day.told.about("%22bare%22") if one.kind in KINDS[severity]]

    assert told
    assert all("LoadFleetAgentUnreachable" in one.title for one in told)
    assert all("- LoadFleet" in one.text or "• LoadFleet" in one.text for one in told)


def test_a_title_fits_into_pagerduty(day: Day) -> None:
    """PagerDuty refuses longer ones."""
    (told,) = day.told.about("of long", "pagerduty")

    assert told.title.startswith("Much. of long ä")
    assert 1024 == len(told.title)


def test_names_cannot_command_the_chat(day: Day) -> None:
    """Names must not be interpreted as commands by the chat."""
    (told,) = day.told.about("command", "slack")

    assert "command &lt;!channel&gt; &amp; more" in told.text


def test_telephones_show_the_target_of_a_chat_message(day: Day) -> None:
    """A chat message's fallback must name the target: telephones show it instead of the title."""
    told = day.last(("warning", "one", "firing"), "slack")

    assert told.key.startswith("RecorderUnreachable in one sentence. There is target-00. of ")
