"""Every kind of defect, planted into a copy of a dashboard, must be found by the command."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.dashboards.boards import BOARDS
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

UID = "loadfleet-overview"

Json = dict[str, Any]


def panel(kind: str, title: str, *, width: int = 12, **changes: Any) -> Json:
    """Return a copy of the first panel of a kind with other options and one simple query."""
    (first, *_) = [one for one in BOARDS[UID]["panels"] if one["type"] == kind]
    one: Json = copy.deepcopy(first)
    one |= {"title": title, "gridPos": {"w": width, "h": 6}, "transformations": [], "links": []}
    one["targets"] = one["targets"][:1]
    one["targets"][0] |= {"expr": changes.pop("expr", "vector(0.5)"), "hide": False}
    one["fieldConfig"] = {"defaults": changes.pop("defaults", {}), "overrides": []}
    return one | changes


LONG = "The share of all the agents of all the sources that have not been reachable"
#: Planted defects, with the beginning of the reported reason.
SEEDED = {
    "Broken query": (panel("timeseries", "Broken query", expr="sum("), "Error: query A: "),
    "Broken step": (
        panel("table", "Broken step", transformations=[{"id": "conjure", "options": {}}]),
        "Error: there is no transformation conjure",
    ),
    "Empty lines": (panel("timeseries", "Empty lines", expr="nothing"), "it is empty"),
    "Empty number": (panel("stat", "Empty number", expr="nothing"), "it is empty"),
    "Empty rows": (panel("table", "Empty rows", expr="nothing"), "it is empty"),
    "Percent": (
        panel(
            "timeseries", "Percent", expr="vector(0)", defaults={"unit": "percentunit", "min": 0}
        ),
        "its axis goes to 10000 %, its data to 0 %",
    ),
    "Flat": (
        panel("timeseries", "Flat", defaults={"unit": "s", "min": 0, "max": 90_000}),
        "its axis spans 90000 s, its data end at 0.5",
    ),
    LONG: (panel("stat", LONG, width=3), "its title is cut: "),
    "Wide": (
        panel(
            "table",
            "Wide",
            width=4,
            expr="loadfleet_agent_info",
            defaults={"custom": {"minWidth": 150}},
        ),
        "it needs a horizontal scroll bar: ",
    ),
    "Word": (
        panel(
            "stat",
            "Word",
            width=3,
            defaults={"mappings": [{"type": "value", "options": {"0.5": {"text": LONG * 3}}}]},
        ),
        "its text ",
    ),
}
SOUND = {
    "Lines": panel("timeseries", "Lines", defaults={"unit": "percentunit", "min": 0, "max": 1}),
    "Number": panel("stat", "Number", width=3),
    "Rows": panel("table", "Rows", expr="max by (source) (loadfleet_source_up)"),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """Return the command's exit code and output for a dashboard with all defects."""
    for program in ("npm", "node", "chromium", "prometheus", "promtool"):
        require(program)
    folder: Path = tmp_path_factory.mktemp("seeded")
    board = copy.deepcopy(BOARDS[UID])
    board["panels"] = [*(seeded for seeded, _ in SEEDED.values()), *SOUND.values()]
    for number, one in enumerate(board["panels"]):
        one["id"] = number + 1
        one["gridPos"] |= {"x": 12 * (number % 2), "y": 6 * (number // 2)}
    (folder / "seeded.json").write_text(json.dumps(board))
    done = subprocess.run(
        [sys.executable, "-m", "tests.grafana", "--quick", f"--dashboards={folder}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_code_tells_that_something_looks_wrong(said: tuple[int, str]) -> None:
    """The command must exit with 1 when a panel looks wrong."""
    code, printed = said

    assert 1 == code
    assert f"{len(SEEDED)} faults" == printed.splitlines()[-1]


@pytest.mark.parametrize("title", SEEDED)
def test_it_is_told_with_panel_and_reason(said: tuple[int, str], title: str) -> None:
    """Each defect must be reported with its panel and reason."""
    _, printed = said
    _, reason = SEEDED[title]

    found = [line for line in printed.splitlines() if line.startswith(f"{UID}: {title}: ")]

    assert found, printed
    assert any(line.startswith(f"{UID}: {title}: {reason}") for line in found), found


@pytest.mark.parametrize("title", SOUND)
def test_a_sound_panel_is_not_accused(said: tuple[int, str], title: str) -> None:
    """The command must report no fault of a sound panel."""
    _, printed = said

    found = [line for line in printed.splitlines() if line.startswith(f"{UID}: {title}: ")]

    assert f"{UID}: {len(SEEDED) + len(SOUND)} panels rendered" in printed
    assert [] == found
