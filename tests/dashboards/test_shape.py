from __future__ import annotations

import json
import re
from collections import defaultdict
from itertools import combinations

import promql_parser
import pytest

from exporter.dashboards.dashboard import COLUMNS
from exporter.dashboards.panels import TEXTS
from exporter.metrics import catalogue as c
from tests.dashboards.boards import BOARDS, FOLDER, Json, Panel, filled, marks, panels
from tests.dashboards.grammar import labels, selectors


#: Panels of every supported Grafana, without a plug-in.
CORE = {"row", "stat", "state-timeline", "status-history", "table", "text", "timeseries"}

#: Metrics with one series per run that has just ended, which are few.
FEW = {
    family.name
    for family in (
        *(c.RUN_PASSED, c.RUN_END, c.RUN_EXIT_CODE, c.RUN_ENGINE_ERRORS, c.RUN_EVENTS),
        *(c.RUN_OUTCOME, c.RUN_START),
    )
}

every_board = pytest.mark.parametrize("board", list(BOARDS.values()), ids=list(BOARDS))
every_panel = pytest.mark.parametrize("panel", panels(), ids=str)


def cells(panel: Json) -> set[tuple[int, int]]:
    """Return the cells of the grid that a panel covers."""
    place = panel["gridPos"]
    return {
        (x, y)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    }


def colours(panel: Json) -> set[tuple[str, str]]:
    """Return the words of a panel with their colours."""
    text = json.dumps(panel)
    mapped = re.findall(r'"text": "([^"]+)", "color": "([^"]+)"', text)
    fixed = [
        (override["matcher"]["options"], properties["value"]["fixedColor"])
        for override in panel.get("fieldConfig", {}).get("overrides", [])
        for properties in override["properties"]
        if properties["id"] == "color"
    ]
    return {*mapped, *fixed}


def test_there_are_five() -> None:
    """There must be five dashboards with fixed uids, which addresses contain."""
    names = ("overview", "agents", "suites", "generators", "exporter")
    expected = {f"loadfleet-{name}" for name in names}

    assert expected == BOARDS.keys()
    assert 5 == len({board["title"] for board in BOARDS.values()})


@every_board
def test_it_is_of_the_classic_model(board: Json) -> None:
    """File provisioning takes no other, and newer Grafanas need no migration of this one."""
    assert 42 == board["schemaVersion"]
    assert None is board["id"]
    assert len(board["uid"]) <= 40
    assert {"__inputs", "__requires", "rows", "apiVersion"}.isdisjoint(board)


@every_board
def test_it_reads_at_the_pace_of_the_polls(board: Json) -> None:
    """A dashboard must refresh once a minute, the default pace of the polls."""
    assert "1m" == board["refresh"]
    assert 1 == board["graphTooltip"]
    assert "browser" == board["timezone"]


@every_board
def test_its_panels_fill_the_grid(board: Json) -> None:
    """No panel may hide another, and none may leave a hole."""
    covered = [cells(panel) for panel in board["panels"]]
    height = max(y for panel in covered for _, y in panel) + 1

    assert all(one.isdisjoint(other) for one, other in combinations(covered, 2))
    assert {(x, y) for x in range(COLUMNS) for y in range(height)} == set().union(*covered)


@every_board
def test_its_panels_have_ids(board: Json) -> None:
    """Links to a panel need to find one."""
    ids = [panel["id"] for panel in board["panels"]]

    assert list(range(1, len(ids) + 1)) == ids


@every_board
def test_it_needs_no_plug_in(board: Json) -> None:
    """A dashboard must use panels of Grafana's core only: others need a plug-in."""
    assert CORE >= {panel["type"] for panel in board["panels"]}


@every_board
def test_it_is_no_inventory(board: Json) -> None:
    """A dashboard of a hundred panels answers nothing."""
    asking = [panel for panel in board["panels"] if panel["type"] not in {"row", "text"}]

    assert len(asking) <= 21, "add a column to a table, or remove a panel"


@every_board
def test_kubectl_can_apply_it(board: Json) -> None:
    """A ConfigMap is written into an annotation of itself, in which 256 KiB have room."""
    text = (FOLDER / f"{board['uid']}.json").read_text()

    assert len(json.dumps(text)) < 256 * 1024 - 4096


@every_board
def test_it_links_to_the_others_and_takes_the_choice_along(board: Json) -> None:
    """The links to other dashboards must keep the chosen variables and time range."""
    (others,) = [link for link in board["links"] if link["type"] == "dashboards"]
    docs, page = [link["url"] for link in board["links"] if link["type"] == "link"]

    assert board["tags"] == others["tags"]
    assert others["includeVars"]
    assert others["keepTime"]
    assert docs.startswith("https://")
    assert "${board}" == page


@every_board
def test_its_variables_are_in_order(board: Json) -> None:
    """The variables must stand in order: each limits the values of the next."""
    names = [variable["name"] for variable in board["templating"]["list"]]

    assert ["datasource", "job", "provider", "source"] == names[:4]
    assert ["filters", "board"] == names[-2:]


@every_board
def test_its_marks_stand_at_the_times_that_series_tell(board: Json) -> None:
    """The marks' times are the values, in milliseconds."""
    found = marks(board)

    assert found
    assert all(mark["useValueForTime"] for mark in found)
    assert all(mark["expr"].endswith(" * 1000") for mark in found)


@every_panel
def test_data_links_lead_to_dashboards_and_keep_the_time(panel: Panel) -> None:
    """A link to what is not there is worse than none."""
    links = re.findall(r'"url": "(/d/[^"]+)"', json.dumps(panel.json))

    for link in links:
        uid, _, query = link.removeprefix("/d/").partition("?")
        wanted = {variable["name"] for variable in BOARDS[uid]["templating"]["list"]}
        assert query.endswith("&${__url_time_range}")
        assert set(re.findall(r"var-(\w+)=", query)) <= wanted


@every_panel
def test_a_table_asks_for_the_newest_values(panel: Panel) -> None:
    """Anything else would show a row per point in time."""
    expected = {(True, False)} if panel.json["type"] in {"table", "stat"} else {(False, True)}

    assert expected == {(target["instant"], target["range"]) for target in panel.json["targets"]}


@every_panel
def test_a_share_that_is_0_has_an_axis_of_a_whole(panel: Panel) -> None:
    """Without a hint, Grafana draws 0 to 10000 % while all is well."""
    defaults = panel.json["fieldConfig"]["defaults"]
    if panel.json["type"] == "timeseries" and defaults["unit"] == "percentunit":
        assert 1 == defaults["custom"]["axisSoftMax"]


@every_panel
def test_a_title_fits(panel: Panel) -> None:
    """About twelve characters have room in four columns; Grafana cuts what has none."""
    assert len(panel.json["title"]) <= 3 * panel.json["gridPos"]["w"]


@every_panel
def test_a_panel_shows_few_of_thousands(panel: Panel) -> None:
    """Ten thousand lines, or rows, are slow to draw and say nothing."""
    many = {"agent_id", "member_id", "suite_id", "run_id"}
    sums = ("sum", "count", "avg", "max(", "min(")
    for query in panel.queries:
        apart = many & labels(promql_parser.parse(filled(query)))
        names = {selector.name for selector in selectors(filled(query))}
        if apart and not query.startswith(sums) and not names <= FEW:
            assert "topk(" in query or "bottomk(" in query


def test_each_text_is_that_of_a_panel() -> None:
    """Every text must be shown by a panel."""
    shown = "".join(
        panel.get("description", "") + panel["options"].get("content", "")
        for board in BOARDS.values()
        for panel in board["panels"]
        if panel["type"] != "row"
    )

    _, *texts = TEXTS.values()
    assert [] == [text for text in texts if text not in shown]


def test_the_same_word_has_the_same_colour_everywhere() -> None:
    """A state must have the same colour on all dashboards."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for panel in panels():
        for word, colour in colours(panel.json):
            found[word].add(colour)

    assert {"unreachable", "outdated", "passed", "running", "no data"} <= found.keys()
    assert {} == {word: seen for word, seen in found.items() if len(seen) > 1}


@every_panel
def test_states_are_told_by_words_not_by_colour_alone(panel: Panel) -> None:
    """States must be shown as words, for people who cannot tell the colours apart."""
    if panel.json["type"] in {"state-timeline", "status-history"}:
        (values, nothing) = panel.json["fieldConfig"]["defaults"]["mappings"]

        assert all(each["text"] for each in values["options"].values())
        assert "no data" == nothing["options"]["result"]["text"]


@every_panel
def test_what_needs_an_option_names_it(panel: Panel) -> None:
    """An empty panel must say what would fill it."""
    needed = {
        "loadfleet_agent_jobs": "`jobs`",
        "loadfleet_certificate_": "`certificates`",
        "loadfleet_template_": "`templates`",
        "loadfleet_exporter_notification": "built-in alerts",
    }

    for metric, option in needed.items():
        if any(metric in query for query in panel.queries):
            assert option in panel.json["description"]


@every_panel
def test_its_description_says_where_the_numbers_come_from(panel: Panel) -> None:
    """A panel's description must name a metric of its queries."""
    mentioned = set(re.findall(r"`([\w:]+)`", panel.json["description"]))

    assert any(name in query for name in mentioned for query in panel.queries)
