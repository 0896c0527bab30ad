from __future__ import annotations

import promql_parser
import pytest

from tests.dashboards.boards import (
    BOARDS,
    Panel,
    Query,
    filled,
    hidden,
    of_cells,
    panels,
    queries,
    shown,
    variables,
)
from tests.dashboards.grammar import KNOWN, RATES, labels, selectors


every_query = pytest.mark.parametrize("query", list(queries()), ids=str)
tables = [panel for panel in panels() if panel.json["type"] == "table"]
every_table = pytest.mark.parametrize("panel", tables, ids=str)


def rated(expression: str) -> set[str]:
    """Return the metrics that are the direct argument of a rate."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.Call) and node.func.name in RATES:
            found.add(node.args[0].vector_selector.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


@every_query
def test_it_parses(query: Query) -> None:
    """With the variables filled in, it must be PromQL."""
    promql_parser.parse(filled(query.expression))


@every_query
def test_its_metrics_and_labels_exist(query: Query) -> None:
    """A query must use only metrics and labels that exist, or its panel would be empty."""
    found = labels(promql_parser.parse(filled(query.expression)))

    assert set() == query.mentioned - found


@every_query
def test_counters_are_rated_and_gauges_are_not(query: Query) -> None:
    """A counter by itself says nothing, and the rate of a gauge is nonsense."""
    expression = filled(query.expression)
    counters = {
        name
        for selector in selectors(expression)
        if KNOWN[name := selector.name or ""].kind == "counter"
    }

    assert counters == rated(expression)


@every_table
def test_the_labels_of_a_table_exist(panel: Panel) -> None:
    """A column, or a link out of one, that no query fills is always empty."""
    found = [labels(promql_parser.parse(filled(query))) for query in panel.queries]
    fields = frozenset[str]().union(*found)

    assert set() == (shown(panel.json) | of_cells(panel.json)) - fields


@every_table
def test_the_rows_of_a_table_come_together(panel: Panel) -> None:
    """Only rows with the same labels are joined; a label that one query lacks tears them apart."""
    found = [labels(promql_parser.parse(filled(query))) for query in panel.queries]
    common = frozenset.intersection(*found)
    only_one_has = [each - common for each in found if each - common]

    assert common
    assert len(frozenset[str]().union(*only_one_has)) == sum(map(len, only_one_has))
    assert shown(panel.json) <= (fields := frozenset[str]().union(*found))
    assert fields <= shown(panel.json) | hidden(panel.json)


@pytest.mark.parametrize("board", list(BOARDS.values()), ids=list(BOARDS))
def test_variables_ask_for_what_exists(board: dict[str, object]) -> None:
    """A variable without values makes a dashboard without data."""
    for variable in variables(board):
        query = variable["query"]["query"]
        selector, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)

        assert label == variable["name"]
        assert label in labels(promql_parser.parse(filled(selector)))


@pytest.mark.parametrize("board", list(BOARDS.values()), ids=list(BOARDS))
def test_each_variable_matters(board: dict[str, object]) -> None:
    """A choice that changes nothing is a lie."""
    asked = "".join(str(panel.queries) for panel in panels() if panel.board is board)

    for variable in variables(board):
        assert f'{variable["name"]}=~"${variable["name"]}"' in asked


class TestTheChecks:
    @pytest.mark.parametrize(
        "expression",
        [
            "loadfleet_agent_upp",
            'loadfleet_agent_up{phase="x"}',
            "sum by (phase) (loadfleet_agent_up)",
            "loadfleet_agent_up and on (phase) loadfleet_source_up",
            "loadfleet_agent_up * on (source) group_left (phase) loadfleet_source_up",
            "loadfleet_agent_up / loadfleet_source_up",
            'label_replace(loadfleet_agent_up, "x", "$1", "phase", "(.*)")',
        ],
    )
    def test_what_does_not_exist_is_found(self, expression: str) -> None:
        """Metrics, matchers, aggregations, joins and copies are looked into."""
        with pytest.raises((KeyError, AssertionError)):
            labels(promql_parser.parse(expression))

    def test_a_rate_is_seen_through_sums(self) -> None:
        """Only what stands directly in the rate is rated."""
        expression = "sum(rate(process_cpu_seconds_total[5m])) / loadfleet_exporter_polls_total"

        assert {"process_cpu_seconds_total"} == rated(expression)
