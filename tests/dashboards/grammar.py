"""Metrics of a PromQL query, and the labels of its result, read from the query's syntax tree."""

from __future__ import annotations

from typing import Any

import promql_parser

from exporter.alerts.formats import WITHOUT
from exporter.alerts.recording import LABELS, MACHINES, STATE, UP
from exporter.metrics.catalogue import COMMON_LABELS
from exporter.metrics.own import OWN_FAMILIES
from exporter.metrics.telemetry import SelfMetrics
from exporter.sources.registry import FAMILIES


#: Labels that Prometheus adds to every series.
TARGET = frozenset({"job", "instance"})

SETS = {"and", "or", "unless"}
RATES = {"rate", "irate", "increase"}


class Metric:
    """A metric's type and labels."""

    def __init__(self, kind: str, labels: set[str] | frozenset[str]) -> None:
        self.kind = kind
        self.labels = frozenset(labels) | TARGET


def _known() -> dict[str, Metric]:
    known = {family.name: Metric("gauge", {*COMMON_LABELS, *family.labels}) for family in FAMILIES}
    for family in OWN_FAMILIES:
        kind = "gauge" if "gauge" == family.kind else "counter"
        bound = {"le"} if "histogram" == family.kind else set()
        known[family.series] = Metric(kind, {*family.labels, *bound})
    for described in SelfMetrics().registry.collect():
        if described.name.startswith("process_"):
            suffix = "_total" if "counter" == described.type else ""
            known[described.name + suffix] = Metric(described.type, set())
    known |= dict.fromkeys((STATE, UP), Metric("gauge", set()))
    known["up"] = Metric("gauge", set())
    known["ALERTS"] = Metric("gauge", {"alertname", "alertstate", "severity"})
    return known


#: Every metric that a query may name.
KNOWN = _known()


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Return all selectors of a query."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def labels(node: Any) -> frozenset[str]:
    """Return the labels that the series of an expression's result can have.

    Raises:
        KeyError: The expression names an unknown metric.
        AssertionError: The expression names a label that its metric does not have.
    """
    match node:
        case promql_parser.NumberLiteral():
            found: frozenset[str] = frozenset()
        case promql_parser.ParenExpr():
            found = labels(node.expr)
        case promql_parser.MatrixSelector():
            found = labels(node.vector_selector)
        case promql_parser.VectorSelector():
            found = _labels_of_recorded(node) or KNOWN[node.name or ""].labels
            _there({matcher.name for matcher in node.matchers.matchers}, found)
        case promql_parser.Call():
            found = _labels_of_call(node)
        case promql_parser.AggregateExpr():
            found = _labels_of_aggregation(node)
        case promql_parser.BinaryExpr():
            found = _labels_of_operation(node)
        case _:
            raise AssertionError(f"nobody said what {node!r} does to labels")
    return found


def _labels_of_recorded(node: promql_parser.VectorSelector) -> frozenset[str]:
    if node.name not in {STATE, UP}:
        return frozenset()
    # Labels that distinguish processes are merged.
    kinds = {each.value for each in node.matchers.matchers if "kind" == each.name}
    machines = [one for one in MACHINES if one.kind in kinds] or MACHINES
    return frozenset({"job", *LABELS}).union(*(machine.labels for machine in machines))


def _there(wanted: set[str], found: frozenset[str]) -> None:
    assert wanted <= found, f"{sorted(wanted - found)} not among {sorted(found)}"


def _labels_of_call(node: promql_parser.Call) -> frozenset[str]:
    match node.func.name:
        case "time":
            return frozenset()
        case "label_replace":
            into, _, source = (argument.val for argument in node.args[1:4])
            found = labels(node.args[0])
            _there({source} - {""}, found)
            return found | {into}
        case "histogram_quantile":
            found = labels(node.args[1])
            _there({"le"}, found)
            return found - {"le"}
        case _:
            return labels(node.args[0])


def _labels_of_aggregation(node: promql_parser.AggregateExpr) -> frozenset[str]:
    found = labels(node.expr)
    counted = {str(node.param).strip('"')} if "count_values" == str(node.op) else set()
    if node.modifier is None:
        return found if str(node.op) in {"topk", "bottomk"} else frozenset()
    named = set(node.modifier.labels)
    if promql_parser.AggModifierType.Without == node.modifier.type:
        _there(named - {"job", *WITHOUT}, found)
        return found - named
    _there(named, found)
    return frozenset({*named, *counted})


def _labels_of_operation(node: promql_parser.BinaryExpr) -> frozenset[str]:
    left, right = labels(node.lhs), labels(node.rhs)
    modifier = node.modifier
    if modifier is not None and modifier.matching is not None:
        _there(set(modifier.matching.labels), left)
        _there(set(modifier.matching.labels), right)
    if str(node.op) == "or":
        return left | right
    if str(node.op) in SETS:
        return left
    if left and right and (modifier is None or modifier.matching is None):
        assert left == right, f"{sorted(left)} never match {sorted(right)}"
    brought = set(modifier.group_labels or ()) if modifier is not None else set()
    _there(brought, right)
    # A number or time() beside a vector leaves the vector's labels.
    return (left or right) | brought
