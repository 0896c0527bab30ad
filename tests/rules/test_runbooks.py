from __future__ import annotations

import json
import re
import shlex
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import promql_parser
import pytest
import yaml

from exporter.alerts.settings import AlertingSettings
from exporter.alerts.table import EVERYTHING
from exporter.alerts.thresholds import Thresholds
from exporter.cli import parse
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Reading, Run
from exporter.metrics.catalogue import FAMILIES
from exporter.metrics.own import OWN_FAMILIES
from exporter.settings.preflights import Machines, PreflightSettings
from tests.rules.support import DEPLOY, every_rule, text_of
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.fleet.store import Snapshot


FOLDER = DEPLOY / "runbooks"
RUNBOOKS = sorted(path.name for path in FOLDER.iterdir())

#: The addresses of the exporter and Alertmanager in runbooks.
EXPORTER, ALERTMANAGER = "http://localhost:10871", "http://localhost:9093"

#: A call of the exporter's command, on a machine, in a container or in a pod.
_OURS = re.compile(
    r"(?:/opt/loadfleet/bin/|docker compose -p \S+ exec exporter |kubectl exec \S+ -- )"
    r"loadfleet-exporter (.+)"
)

SECTIONS = [
    "What it means",
    "What you lose",
    "How to check",
    "How to fix it",
    "When to silence it",
]

each = pytest.mark.parametrize("runbook", RUNBOOKS)


def read(runbook: str) -> str:
    return (FOLDER / runbook).read_text()


def blocks(runbook: str, language: str) -> list[str]:
    """Return the lines of all code blocks in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", read(runbook), re.DOTALL | re.MULTILINE)
    return [line for block in found for line in block.splitlines()]


@cache
def metrics() -> set[str]:
    """Return the names of all samples and of what is recorded."""
    own = {family.series for family in OWN_FAMILIES}
    groups = yaml.safe_load(text_of(AlertingSettings(thresholds=EVERYTHING)))["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    return {"up"} | {family.name for family in FAMILIES} | own | recorded


def test_every_alert_has_one_and_nobody_else() -> None:
    """Every alert must have a runbook, and every runbook an alert."""
    assert sorted({rule.runbook for rule in every_rule()}) == RUNBOOKS


@each
def test_it_answers_the_same_questions(runbook: str) -> None:
    """Every runbook must have the same sections."""
    assert SECTIONS == re.findall(r"^## (.+)$", read(runbook), re.MULTILINE)
    assert read(runbook).startswith(f"# {runbook.removesuffix('.md')}\n")


@each
def test_its_queries_can_be_asked(runbook: str) -> None:
    """A runbook's queries must be valid, and use metrics that exist."""
    queries = blocks(runbook, "promql")
    names = {
        name
        for query in queries
        for name in re.findall(r"\b(?:source:)?loadfleet_\w+(?::\w+)?|\bup\b", query)
    }
    for query in queries:
        promql_parser.parse(query)

    assert names
    assert names <= metrics()


@each
def test_its_commands_can_be_given(runbook: str) -> None:
    """Each call of ours parses, and needs no secret that only the daemon can read."""
    calls = [
        shlex.split(call[1], comments=True)
        for line in blocks(runbook, "sh")
        if (call := _OURS.fullmatch(line))
    ]

    for words in calls:
        arguments = parse(words)
        assert arguments.command == "check-config" or arguments.url == EXPORTER


def commands(runbook: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in blocks(runbook, "sh")]


def test_the_commands_are_for_what_is_installed() -> None:
    """Unit, service and deployment have the names that they have in the files beside."""
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yml").read_text())
    units = {path.stem for path in (DEPLOY / "systemd").glob("*.service")}
    objects = {
        f"{content['kind'].lower()}/{content['metadata']['name']}"
        for path in (DEPLOY / "kubernetes" / "base").glob("*.yaml")
        for content in yaml.safe_load_all(path.read_text())
        if "name" in content.get("metadata", {})
    }
    found = [words for runbook in RUNBOOKS for words in commands(runbook)]

    by_systemd = {" ".join(words[:3]) for words in found if words[0] in {"journalctl", "systemctl"}}
    by_compose = [words for words in found if words[0] == "docker"]
    by_kubectl = {word for words in found if words[0] == "kubectl" for word in words if "/" in word}

    assert {text.split()[2] for text in by_systemd} == units
    assert by_compose
    assert all(["compose", "-p", compose["name"]] == words[1:4] for words in by_compose)
    assert all("exporter" in words for words in by_compose)
    assert "exporter" in compose["services"]
    wanted = {word for word in by_kubectl if word.startswith(("deployment/", "service/"))}
    assert {"deployment/loadfleet-exporter", "service/loadfleet-exporter"} == wanted
    assert wanted <= objects


@each
def test_what_is_silenced_is_this_alert(runbook: str) -> None:
    """A silence copied from here hides no other alert, and works without amtool's own file."""
    silences = [words for words in commands(runbook) if words[0] == "amtool"]

    for words in silences:
        assert f"alertname={runbook.removesuffix('.md')}" in words
        assert f"--alertmanager.url={ALERTMANAGER}" in words


def test_a_silence_of_one_that_is_gone_needs_no_instance() -> None:
    """The silence of an exporter that is gone must match alerts with and without `instance`."""
    (silence,) = (words for words in commands("LoadFleetExporterGone.md") if words[0] == "amtool")
    (instance,) = (word for word in silence if word.startswith("instance=~"))

    pattern = instance.partition("=~")[2].strip('"')
    assert all(re.fullmatch(pattern, value) for value in ("", "localhost:10871"))
    assert not re.fullmatch(pattern, "elsewhere:10871")


@each
def test_it_begins_with_the_exporter(runbook: str) -> None:
    """Each runbook's check must begin with the exporter itself, which every installation has."""
    check = read(runbook).partition("## How to check")[2].partition("## How to fix it")[0]
    first = re.split(r"^```promql$", check, flags=re.MULTILINE)[0]

    assert EXPORTER in first or "localhost:10871" in first


async def test_its_addresses_are_answered() -> None:
    """Every address in a runbook must be answered, for targets such as the alerts name."""
    found = sorted({url for runbook in RUNBOOKS for url in addresses(runbook)})
    asked = [dict(parse_qsl(urlsplit(url).query)) for url in found]
    view = Fleet(
        *(
            (query["source"], known(Kind(query["kind"]), query["id"]))
            for query in asked
            if "id" in query
        ),
        sources=sorted({query["source"] for query in asked if "source" in query}),
    )
    # A preflight that is always fit: the runbook's call fails for an unfit fleet.
    view.preflights = tuple(
        PreflightSettings(name=query["name"], agents=Machines(min_up=0))
        for query in asked
        if "name" in query
    )

    async with fakes.browsing(view) as client:
        answers = {url: (await client.get(url)).status_code for url in found}

    assert dict.fromkeys(found, 200) == answers
    assert any("debug=true" in url for url in found)
    assert {key for query in asked for key in query} <= {
        *("source", "kind", "id", "debug", "state", "name", "name[]")
    }


def addresses(runbook: str) -> list[str]:
    """Return the exporter's addresses in the text and in the commands."""
    return re.findall(rf"{EXPORTER}/[^\s'`]*", read(runbook))


def known(kind: Kind, target_id: str) -> Reading:
    """Return what is known of a target."""
    made: list[Reading] = [
        *(fakes.agent(), fakes.controller(), fakes.cluster(), fakes.location()),
        *(fakes.recorder(), fakes.suite(), Run(run_id="1", run="smoke", phase="running")),
    ]
    (reading,) = (each for each in made if isinstance(each, kind.reading))
    return fakes.changed(reading, **{kind.id_field: target_id})


class Fleet(fakes.FakeView):
    """A view of targets of several sources."""

    def __init__(self, *targets: tuple[str, Reading], sources: Iterable[str]) -> None:
        super().__init__(
            *(reading for _, reading in targets), sources=[*map(fakes.source, sources)]
        )
        self._found = [
            fakes.changed(self.snapshot, source=source, readings=(reading,))
            for source, reading in targets
        ]

    def snapshots(self) -> list[Snapshot]:
        """Return a snapshot for each."""
        return self._found


@each
def test_its_dashboard_exists(runbook: str) -> None:
    """The dashboard a runbook names must exist, and be the one its alert links to."""
    named = set(re.findall(r'dashboard\s+"([^"]+)"', read(runbook)))
    titles, linked = dashboards()

    assert named
    assert named <= titles
    assert linked.get(runbook, named) & named


@cache
def dashboards() -> tuple[set[str], dict[str, set[str]]]:
    """Return the titles of all dashboards, and for each runbook those that link to it."""
    titles: set[str] = set()
    linked: dict[str, set[str]] = {}
    for path in (DEPLOY.parent / "grafana" / "dashboards").glob("*.json"):
        text = path.read_text()
        titles.add(title := json.loads(text)["title"])
        for name in re.findall(r"\bLoadFleet\w+\.md", text):
            linked.setdefault(name, set()).add(title)
    return titles, linked


@each
def test_its_links_lead_somewhere(runbook: str) -> None:
    """Every file that a runbook links to must exist."""
    assert [] == [
        link for link in re.findall(r"\]\((.+?)\)", read(runbook)) if not (FOLDER / link).exists()
    ]


@pytest.mark.parametrize("threshold", Thresholds.model_fields.keys() - {"for_scale"})
def test_every_threshold_is_explained(threshold: str) -> None:
    """People who are alerted too early must learn what to turn."""
    assert any(f"{threshold}" in read(runbook) for runbook in RUNBOOKS)


@each
def test_what_it_calls_a_metric_is_one(runbook: str) -> None:
    """Names in the text are checked as those in the queries are."""
    found = set(re.findall(r"\bloadfleet_\w+", read(runbook)))

    assert found <= {name for full in metrics() for name in (full, full.split(":")[-2:][0])}
