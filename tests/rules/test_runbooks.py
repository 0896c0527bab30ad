from __future__ import annotations

import re
import shlex
from functools import cache

import promql_parser
import pytest
import yaml

from exporter.alerts.thresholds import Thresholds
from exporter.cli import parse
from exporter.metrics.catalogue import FAMILIES
from exporter.metrics.own import OWN_FAMILIES
from exporter.sources.registry import PROVIDERS
from tests.rules.support import DEPLOY, EVERYTHING, every_rule, text_of


FOLDER = DEPLOY / "runbooks"
RUNBOOKS = [rule.runbook for rule in every_rule()]

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
    groups = yaml.safe_load(text_of(EVERYTHING))["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    return {"up"} | {family.name for family in FAMILIES} | own | recorded


def test_every_alert_has_one_and_nobody_else() -> None:
    """People who are woken find help, and no page speaks of an alert that is gone."""
    assert sorted(RUNBOOKS) == sorted(path.name for path in FOLDER.iterdir())


@each
def test_it_answers_the_same_questions(runbook: str) -> None:
    """At three in the morning nobody wants to look for the place."""
    assert SECTIONS == re.findall(r"^## (.+)$", read(runbook), re.MULTILINE)
    assert read(runbook).startswith(f"# {runbook.removesuffix('.md')}\n")


@each
def test_its_queries_can_be_asked(runbook: str) -> None:
    """Each is valid and asks for metrics that exist."""
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
    """Each call of ours parses, and asks for a kind of target that a vendor has."""
    kinds = {kind for provider in PROVIDERS.values() for kind in provider.kinds}
    calls = [
        shlex.split(line, comments=True)[1:]
        for line in blocks(runbook, "sh")
        if line.startswith("loadfleet-exporter ")
    ]

    for call in calls:
        arguments = parse(call)
        assert getattr(arguments, "kind", "agent") in kinds


@each
def test_what_is_silenced_is_this_alert(runbook: str) -> None:
    """A silence copied from here must not hide another alert."""
    silences = [line for line in blocks(runbook, "sh") if line.startswith("amtool silence")]

    assert all(f" alertname={runbook.removesuffix('.md')} " in line for line in silences)


@each
def test_its_links_lead_somewhere(runbook: str) -> None:
    """Each file it refers to is beside it."""
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
