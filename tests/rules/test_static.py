"""The rules without any data, by Prometheus' own grammar."""

from __future__ import annotations

import re
import string
from typing import Any

import promql_parser
import pytest
import yaml

from exporter.alerts.evidence import MISSING, UNKNOWN, UNSEEN
from exporter.alerts.formats import WITHOUT, RulesOptions
from exporter.alerts.rule import HEARTBEAT, PREFIX, Links, Rule, Severity
from exporter.alerts.table import IDENTITY
from exporter.alerts.texts import VALUE
from exporter.metrics.catalogue import COMMON_LABELS, FAMILIES
from exporter.metrics.own import OWN_FAMILIES
from tests.rules.support import every_rule, everything, text_of


#: Labels that Prometheus or its operator adds to every series.
TARGET = {"job", *WITHOUT}

COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
SETS = {"and", "or", "unless"}

RULES = every_rule()


def named(rule: Rule) -> str:
    """Return a name of a row that is unique among those of the same alert."""
    return f"{rule.name}-{rule.severity}"


every_alert = pytest.mark.parametrize("rule", RULES, ids=named)


def rules_of_the_file() -> list[dict[str, Any]]:
    """Return all rules as Prometheus reads them, alerts and recordings."""
    groups = yaml.safe_load(text_of(everything()))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def known() -> dict[str, set[str]]:
    """Return all metrics with their labels, and recorded series with their least labels."""
    labels = {family.name: {*COMMON_LABELS, *family.labels} | TARGET for family in FAMILIES}
    labels |= {family.series: {*family.labels} | TARGET for family in OWN_FAMILIES}
    labels |= dict.fromkeys(("up", "process_start_time_seconds"), TARGET)
    for rule in (rule for rule in rules_of_the_file() if "record" in rule):
        made = promql_parser.parse(rule["expr"])
        labels[rule["record"]] = labels_of(made, labels) | rule.get("labels", {}).keys()
    return labels


def compares(node: Any) -> bool:  # noqa: PLR0911 - a case per node
    """Return whether nothing gets through an expression without a comparison, or absence.

    Firing alerts and series of unknown things need none: they exist only while it is so.
    """
    match node:
        case promql_parser.VectorSelector():
            return node.name in {"ALERTS", MISSING, UNKNOWN, UNSEEN}
        case promql_parser.ParenExpr() | promql_parser.AggregateExpr():
            return compares(node.expr)
        case promql_parser.Call():
            return bool(node.func.name == "absent")
        case promql_parser.BinaryExpr() if str(node.op) in COMPARISONS:
            return True
        case promql_parser.BinaryExpr() if str(node.op) == "or":
            return compares(node.lhs) and compares(node.rhs)
        case promql_parser.BinaryExpr() if str(node.op) in SETS:
            return compares(node.lhs)
        case _:
            return False


def labels_of(node: Any, known: dict[str, set[str]]) -> set[str]:  # noqa: PLR0911 - a case per node
    """Return the labels that each series of an expression's result has."""
    match node:
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            return set()
        case promql_parser.VectorSelector():
            found = known[node.name or ""]
            assert {matcher.name for matcher in node.matchers.matchers} <= found
            return found
        case promql_parser.MatrixSelector():
            return labels_of(node.vector_selector, known)
        case promql_parser.ParenExpr():
            return labels_of(node.expr, known)
        case promql_parser.Call():
            inner = [labels_of(argument, known) for argument in node.args]
            if node.func.name == "label_replace":
                return inner[0] | {node.args[1].val}
            return set() if node.func.name in {"time", "absent", "vector"} else inner[0]
        case promql_parser.AggregateExpr():
            return _labels_of_aggregation(node, known)
        case promql_parser.BinaryExpr():
            return _labels_of_operation(node, known)
        case _:
            pytest.fail(f"nobody said what {node!r} does to labels")


def _labels_of_aggregation(
    node: promql_parser.AggregateExpr, known: dict[str, set[str]]
) -> set[str]:
    inner, modifier = labels_of(node.expr, known), node.modifier
    if str(node.op) == "count_values":
        inner = inner | {str(node.param).strip('"')}
    if modifier is None:
        return set()
    # Labels that distinguish exporters are left out wherever they exist.
    assert set(modifier.labels) <= inner | set(WITHOUT)
    if promql_parser.AggModifierType.By == modifier.type:
        return set(modifier.labels)
    return inner - set(modifier.labels)


def _labels_of_operation(node: promql_parser.BinaryExpr, known: dict[str, set[str]]) -> set[str]:
    left, right = labels_of(node.lhs, known), labels_of(node.rhs, known)
    matching = node.modifier.matching if node.modifier else None
    brought = set(node.modifier.group_labels or ()) if node.modifier else set()
    assert brought <= right
    if matching is not None and str(matching).startswith("ignoring"):
        assert set(matching.labels) <= left | right
        assert left - set(matching.labels) == right - set(matching.labels)
    elif matching is not None:
        assert set(matching.labels) <= left & right or not right
    if str(node.op) == "or":
        return left & right
    # A number or time() beside a vector leaves the vector's labels.
    return (left or right) | brought


KNOWN = known()


def condition(rule: Rule, *, keep: bool = True) -> Any:
    """Return what an alert is judged by; that for which it goes on can be left out."""
    return promql_parser.parse(rule.promql(RulesOptions.of(everything()).writing, keep=keep))


def labels_of_alert(rule: Rule) -> set[str]:
    """Return the labels of the rule's alerts."""
    others = {*IDENTITY, "alertname", "alertgroup", "alertstate", "severity"}
    fired = labels_of(condition(rule, keep=False), KNOWN | {"ALERTS": others})
    return labels_of(condition(rule), KNOWN | {"ALERTS": fired | others})


@every_alert
def test_it_is_named_as_ours(rule: Rule) -> None:
    """Every alert must have the common prefix, by which it is routed."""
    assert re.fullmatch(PREFIX + r"([A-Z][a-z]+)+", rule.name)


@every_alert
def test_it_compares(rule: Rule) -> None:
    """A condition without a comparison fires for whatever exists, as the heartbeat should."""
    assert compares(condition(rule)) == (rule.name != HEARTBEAT)


@every_alert
def test_it_mentions_only_labels_that_are_there(rule: Rule) -> None:
    """Each label in a text must survive the expression, on both sides of an `or`."""
    links = Links(runbook_url="r", board_url="b", grafana_url="g")
    mentioned: set[str] = set()
    for text in rule.annotations(links).values():
        fields = (field for _, field, _, _ in string.Formatter().parse(text.template))
        mentioned |= {field for field in fields if field not in {None, VALUE}}
        if rule.about is not None:
            mentioned |= {label for detail in text.details for label in detail.on}

    assert mentioned <= labels_of_alert(rule)


def test_details_are_about_what_exists() -> None:
    """Details must use metrics and labels that exist."""
    for rule in RULES:
        for detail in rule.annotations(Links(runbook_url="r"))["description"].details:
            asked = {*detail.on, *({detail.label} if detail.label else ())}

            assert asked <= KNOWN[detail.metric], (rule.name, detail)


@pytest.mark.parametrize(
    "rule",
    [rule for rule in rules_of_the_file() if "record" in rule],
    ids=lambda rule: rule["expr"],
)
def test_what_is_recorded_exists_and_belongs_to_something(rule: dict[str, Any]) -> None:
    """Recording rules must use metrics and labels that exist."""
    found = labels_of(promql_parser.parse(rule["expr"]), KNOWN)

    named = {MISSING: {"job"}, UNSEEN: {"preflight"}}.get(rule["record"])
    assert {"provider", "source"} <= found if named is None else named == found


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.about is not None], ids=named)
def test_an_alert_about_a_target_is_that_of_no_exporter(rule: Rule) -> None:
    """An alert about a target must have no label of an exporter."""
    assert set() == labels_of_alert(rule) & set(WITHOUT)


@pytest.mark.parametrize(
    "rule",
    [rule for rule in rules_of_the_file() if "alert" in rule],
    ids=lambda rule: rule["alert"],
)
def test_its_severity_is_its_only_label(rule: dict[str, Any]) -> None:
    """Routes hang on it; whatever else there is comes from the series."""
    (severity,) = rule["labels"].values()

    assert {"severity": Severity(severity).value} == rule["labels"]


@every_alert
def test_its_summary_is_one_plain_sentence(rule: Rule) -> None:
    """A summary must be one sentence without labels, so that notifications can share it."""
    assert re.fullmatch(r"[A-Z][^.{}]+\.", rule.summary)


@every_alert
def test_its_description_tells_whom_it_is_about(rule: Rule) -> None:
    """People who are woken must not have to look for the place, unless it concerns all."""
    details = rule.details or ()

    assert ("{" in rule.description or bool(details)) == (rule.name != HEARTBEAT)


class TestTheChecks:
    @pytest.mark.parametrize(
        "expression",
        [
            "loadfleet_agent_up",
            "abs(loadfleet_agent_up)",
            "loadfleet_agent_up == 0 or loadfleet_agent_up",
            "loadfleet_agent_up and on (source) loadfleet_source_up == 0",
            "max without (agent) (loadfleet_agent_up)",
        ],
    )
    def test_a_missing_comparison_is_found(self, expression: str) -> None:
        """The check itself must be able to fail."""
        assert not compares(promql_parser.parse(expression))

    def test_an_aggregated_label_is_gone(self) -> None:
        """A label that is summed away cannot be mentioned."""
        found = labels_of(promql_parser.parse("count without (agent) (loadfleet_agent_up)"), KNOWN)

        assert {"provider", "source", "agent_id"} | TARGET == found

    @pytest.mark.parametrize(
        "expression",
        [
            "loadfleet_agent_upp == 0",
            'loadfleet_agent_up{phase="x"} == 0',
            "count without (phase) (loadfleet_agent_up)",
            "max by (phase) (last_over_time(loadfleet_agent_up[3m]))",
            "loadfleet_agent_up and on (phase) loadfleet_source_up",
        ],
    )
    def test_what_does_not_exist_is_found(self, expression: str) -> None:
        """Metrics, matchers, aggregations and joins are looked into."""
        with pytest.raises((KeyError, AssertionError)):
            labels_of(promql_parser.parse(expression), KNOWN)
