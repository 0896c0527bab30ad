"""The rules without any data, by Prometheus' own grammar."""

from __future__ import annotations

import re
from typing import Any

import promql_parser
import pytest
import yaml

from exporter.alerts.rule import HOLD_SECONDS, PREFIX, Severity
from exporter.metrics.catalogue import COMMON_LABELS, FAMILIES
from exporter.metrics.own import OWN_FAMILIES
from tests.rules.support import EVERYTHING, every_rule, text_of


#: What Prometheus adds to every series.
TARGET = {"job", "instance"}

COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
SETS = {"and", "or", "unless"}

RULES = {rule.name: rule for rule in every_rule()}

every_alert = pytest.mark.parametrize("name", RULES)


def known() -> dict[str, set[str]]:
    """Return all metrics with their labels."""
    labels = {family.name: {*COMMON_LABELS, *family.labels} | TARGET for family in FAMILIES}
    labels |= {family.series: {*family.labels} | TARGET for family in OWN_FAMILIES}
    return labels | {"up": set(TARGET)}


KNOWN = known()


def rules_of_the_file() -> dict[str, dict[str, Any]]:
    """Return all rules as Prometheus reads them, alerts and recordings."""
    groups = yaml.safe_load(text_of(EVERYTHING))["groups"]
    return {
        rule.get("alert") or rule["record"]: rule for group in groups for rule in group["rules"]
    }


FILE = rules_of_the_file()


def compares(node: Any) -> bool:
    """Return whether nothing gets through an expression without a comparison, or absence."""
    match node:
        case promql_parser.ParenExpr():
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


def labels(node: Any) -> set[str]:
    """Return the labels that each series of an expression's result has."""
    match node:
        case promql_parser.NumberLiteral():
            return set()
        case promql_parser.VectorSelector():
            found = KNOWN[node.name or ""]
            assert {matcher.name for matcher in node.matchers.matchers} <= found
            return found
        case promql_parser.ParenExpr():
            return labels(node.expr)
        case promql_parser.Call():
            inner = [labels(argument) for argument in node.args]
            return set() if node.func.name in {"time", "absent"} else inner[0]
        case promql_parser.AggregateExpr():
            inner_labels = labels(node.expr)
            modifier = node.modifier
            assert modifier is not None
            assert promql_parser.AggModifierType.Without == modifier.type
            assert set(modifier.labels) <= inner_labels
            return inner_labels - set(modifier.labels)
        case promql_parser.BinaryExpr():
            return _labels_of_operation(node)
        case _:
            pytest.fail(f"nobody said what {node!r} does to labels")


def _labels_of_operation(node: promql_parser.BinaryExpr) -> set[str]:
    left, right = labels(node.lhs), labels(node.rhs)
    matching = node.modifier.matching if node.modifier else None
    if matching is not None:
        assert set(matching.labels) <= left & right or not right
    if str(node.op) == "or":
        return left & right
    # A number or time() beside a vector leaves the vector's labels.
    return left or right


@every_alert
def test_it_is_named_as_ours(name: str) -> None:
    """One prefix, so that one matcher routes them all."""
    assert re.fullmatch(PREFIX + r"([A-Z][a-z]+)+", name)


@every_alert
def test_it_compares(name: str) -> None:
    """A condition without a comparison fires for whatever exists."""
    assert compares(promql_parser.parse(FILE[name]["expr"]))


@every_alert
def test_it_mentions_only_labels_that_are_there(name: str) -> None:
    """Each `$labels.x` must survive the expression, on both sides of an `or`."""
    texts = " ".join(FILE[name]["annotations"].values())
    mentioned = set(re.findall(r"\$labels\.(\w+)", texts))

    assert mentioned <= labels(promql_parser.parse(FILE[name]["expr"]))


@pytest.mark.parametrize("name", FILE)
def test_metrics_and_labels_exist(name: str) -> None:
    """A metric or a label that nobody exposes makes a rule that never fires."""
    expression = promql_parser.parse(FILE[name]["expr"])

    assert labels(expression) >= ({"provider", "source"} if "record" in FILE[name] else set())


@every_alert
def test_its_severity_is_its_only_label(name: str) -> None:
    """Routes hang on it; whatever else there is comes from the series."""
    (severity,) = FILE[name]["labels"].values()

    assert {"severity": Severity(severity).value} == FILE[name]["labels"]


@every_alert
def test_its_summary_is_one_plain_sentence(name: str) -> None:
    """It is the same for all instances, so that grouped notifications can show it."""
    assert re.fullmatch(r"[A-Z][^.{}]+\.", FILE[name]["annotations"]["summary"])


@every_alert
def test_its_description_tells_whom_it_is_about(name: str) -> None:
    """People who are woken must not have to look for the place, unless it concerns all."""
    about_the_exporter = {"LoadFleetExporterGone", "LoadFleetReloadFailed"}
    names_labels = "$labels." in FILE[name]["annotations"]["description"]

    assert names_labels == (name not in about_the_exporter)


@every_alert
def test_it_waits(name: str) -> None:
    """No condition is judged on less than five minutes."""
    assert 300.0 == HOLD_SECONDS <= RULES[name].hold_seconds


@every_alert
def test_a_lost_scrape_does_not_end_it(name: str) -> None:
    """An alert that somebody knows of must not end and begin again with the next scrape."""
    expected = 0.0 if Severity.INFO == RULES[name].severity else 300.0

    assert expected == RULES[name].keep_seconds


class TestTheChecks:
    @pytest.mark.parametrize(
        "expression",
        [
            "loadfleet_agent_up",
            "abs(loadfleet_agent_up)",
            "loadfleet_agent_up == 0 or loadfleet_agent_up",
            "loadfleet_agent_up and on (source) loadfleet_source_up == 0",
        ],
    )
    def test_a_missing_comparison_is_found(self, expression: str) -> None:
        """The check itself must be able to fail."""
        assert not compares(promql_parser.parse(expression))

    def test_an_aggregated_label_is_gone(self) -> None:
        """A label that is summed away cannot be mentioned."""
        found = labels(promql_parser.parse("count without (agent) (loadfleet_agent_up)"))

        assert {"provider", "source", "agent_id"} | TARGET == found

    @pytest.mark.parametrize(
        "expression",
        [
            "loadfleet_agent_upp == 0",
            'loadfleet_agent_up{phase="x"} == 0',
            "count without (phase) (loadfleet_agent_up)",
            "loadfleet_agent_up and on (phase) loadfleet_source_up",
        ],
    )
    def test_what_does_not_exist_is_found(self, expression: str) -> None:
        """Metrics, matchers, aggregations and joins are looked into."""
        with pytest.raises((KeyError, AssertionError)):
            labels(promql_parser.parse(expression))
