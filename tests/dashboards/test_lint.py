"""The rules of dashboard-linter, under the linter's names.

Exceptions are in `grafana/dashboards/.lint`, where the linter looks for them too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml

from tests.dashboards.boards import BOARDS, FOLDER, Json, Panel, filled, panels, variables
from tests.dashboards.grammar import selectors


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


DATA_SOURCE = "${datasource}"
SHOWS_NUMBERS = {"stat", "table", "timeseries", "gauge"}
UNITS = {"none", "short", "percentunit", "s", "dtdurations", "dateTimeFromNow", "bytes", "cpm"}

Exclusions = dict[str, dict[str, Any]]


def exclusions() -> Exclusions:
    """Return the exceptions by rule."""
    found: Exclusions = yaml.safe_load((FOLDER / ".lint").read_text())["exclusions"]
    return found


def of_board(rule: Callable[[Json], Iterator[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield dashboard, panel and complaint of a rule on dashboards; there is no panel."""
    for board in BOARDS.values():
        for complaint in rule(board):
            yield board["title"], "", complaint


def of_panel(rule: Callable[[Panel], Iterator[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield dashboard, panel and complaint of a rule on panels."""
    for panel in panels():
        for complaint in rule(panel):
            yield panel.board["title"], panel.json["title"], complaint


def template(board: Json, name: str) -> Iterator[str]:
    found = [one for one in variables(board) if one["name"] == name]
    if not found:
        yield f"there is no variable {name}"
    for one in found:
        if not (one["multi"] and one["allValue"] == ".+" and one["label"] == name.title()):
            yield f"{name} does not take several values, or all"
        if one["datasource"]["uid"] != DATA_SOURCE:
            yield f"{name} has another data source"


def template_datasource_rule(board: Json) -> Iterator[str]:
    first = board["templating"]["list"][0]
    expected = ("datasource", "datasource", "prometheus", "Data source")
    if expected != (first["type"], first["name"], first["query"], first["label"]):
        yield "the data source cannot be chosen"


def template_job_rule(board: Json) -> Iterator[str]:
    yield from template(board, "job")


def template_instance_rule(board: Json) -> Iterator[str]:
    yield from template(board, "instance")


def template_label_promql_rule(board: Json) -> Iterator[str]:
    for variable in variables(board):
        matched = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        if matched is None:
            yield f"{variable['name']} is no label_values"
        else:
            promql_parser.parse(filled(matched[1]))


def template_on_time_change_reload_rule(board: Json) -> Iterator[str]:
    for variable in variables(board):
        if variable["refresh"] != 2:
            yield f"{variable['name']} is not asked anew when the time changes"


def uneditable_dashboard(board: Json) -> Iterator[str]:
    if board["editable"] is not False:
        yield "it can be edited, and the change is lost with the next release"


def panel_datasource_rule(panel: Panel) -> Iterator[str]:
    for holder in (panel.json, *panel.json["targets"]):
        if holder["datasource"] != {"type": "prometheus", "uid": DATA_SOURCE}:
            yield "it does not use the variable"


def panel_title_description_rule(panel: Panel) -> Iterator[str]:
    if not panel.json["title"] or not panel.json["description"].endswith("."):
        yield "it has no title, or its description is no sentence"


def panel_units_rule(panel: Panel) -> Iterator[str]:
    defaults = panel.json["fieldConfig"]["defaults"]
    given = {defaults.get("unit", "")} | {
        properties["value"]
        for override in panel.json["fieldConfig"]["overrides"]
        for properties in override["properties"]
        if properties["id"] == "unit"
    }
    if panel.json["type"] in SHOWS_NUMBERS and not given <= UNITS:
        yield f"it has no unit, or an unknown one: {given - UNITS}"


def panel_no_targets_rule(panel: Panel) -> Iterator[str]:
    if not all(panel.queries) or not panel.queries:
        yield "it asks nothing"


def target_promql_rule(panel: Panel) -> Iterator[str]:
    for query in panel.queries:
        try:
            promql_parser.parse(filled(query))
        except ValueError as error:
            yield str(error)


def target_rate_interval_rule(panel: Panel) -> Iterator[str]:
    for query in panel.queries:
        for interval in re.findall(r"\bi?rate\([^\[]*\[([^\]]+)\]", query):
            if interval != "$__rate_interval":
                yield f"it rates over {interval}"


def target_matcher(panel: Panel, label: str) -> Iterator[str]:
    for query in panel.queries:
        for selector in selectors(filled(query)):
            matchers = {str(each) for each in selector.matchers.matchers}
            if f'{label}=~".+"' not in matchers or f'{label}=~"${label}"' not in query:
                yield f"{selector.name} is not narrowed to ${label}"


def target_job_rule(panel: Panel) -> Iterator[str]:
    yield from target_matcher(panel, "job")


def target_instance_rule(panel: Panel) -> Iterator[str]:
    yield from target_matcher(panel, "instance")


def target_counter_agg_rule(panel: Panel) -> Iterator[str]:
    for query in panel.queries:
        for counter in re.findall(r"(\w+_total)\b", query):
            if not re.search(rf"\b(rate|irate|increase)\({counter}\b", query):
                yield f"{counter} is not rated"


RULES: dict[str, Callable[[], Iterator[tuple[str, str, str]]]] = {
    "template-datasource-rule": lambda: of_board(template_datasource_rule),
    "template-job-rule": lambda: of_board(template_job_rule),
    "template-instance-rule": lambda: of_board(template_instance_rule),
    "template-label-promql-rule": lambda: of_board(template_label_promql_rule),
    "template-on-time-change-reload-rule": lambda: of_board(template_on_time_change_reload_rule),
    "uneditable-dashboard": lambda: of_board(uneditable_dashboard),
    "panel-datasource-rule": lambda: of_panel(panel_datasource_rule),
    "panel-title-description-rule": lambda: of_panel(panel_title_description_rule),
    "panel-units-rule": lambda: of_panel(panel_units_rule),
    "panel-no-targets-rule": lambda: of_panel(panel_no_targets_rule),
    "target-promql-rule": lambda: of_panel(target_promql_rule),
    "target-rate-interval-rule": lambda: of_panel(target_rate_interval_rule),
    "target-job-rule": lambda: of_panel(target_job_rule),
    "target-instance-rule": lambda: of_panel(target_instance_rule),
    "target-counter-agg-rule": lambda: of_panel(target_counter_agg_rule),
}


def excused(rule: str, title: str, panel: str) -> bool:
    """Return whether an exception covers a complaint."""
    exclusion = exclusions().get(rule)
    if exclusion is None:
        return False
    entries = exclusion.get("entries")
    return not entries or {"dashboard": title, "panel": panel} in entries


@pytest.mark.parametrize("rule", RULES)
def test_the_linter_has_nothing_to_say(rule: str) -> None:
    """Every complaint must be mended or excused."""
    complaints = [one for one in RULES[rule]() if not excused(rule, one[0], one[1])]

    assert [] == complaints


def test_every_exception_has_a_reason_and_is_needed() -> None:
    """An exception for what has been mended would excuse the next mistake."""
    for rule, exclusion in exclusions().items():
        found = {(title, panel) for title, panel, _ in RULES[rule]()}
        wanted = {(each["dashboard"], each["panel"]) for each in exclusion.get("entries") or ()}

        assert exclusion["reason"]
        assert found
        assert wanted <= found
