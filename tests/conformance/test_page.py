"""The page on adding a provider: it shows the example plug-in, and its names exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from exporter.conformance import api as conformance_api
from exporter.sources import api
from tests.conformance.example.loadfleet_farm.families import USERS


ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parent / "example"

PAGE = (ROOT / "deploy" / "docs" / "development" / "providers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]

PATHS = sorted(set(re.findall(r"`((?:exporter|tests)/[\w/.]+)`", PAGE)))
NAMES = sorted(set(re.findall(r"`([A-Z]\w*|[a-z]+_[a-z_]+)(?:\([^`]*\))?`", PAGE)))


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.split("\n", 1)[0].strip())
def test_its_code_is_the_examples(block: str) -> None:
    """The code that authors copy must be the code that is tried."""
    assert any(block in path.read_text() for path in EXAMPLE.rglob("*.py"))


def test_it_shows_something_of_each_module() -> None:
    """The page must show a part of each of the example's modules."""
    modules = {path.name: path.read_text() for path in EXAMPLE.rglob("*.py")}

    assert {*modules} == {
        name for name, text in modules.items() if any(block in text for block in PYTHON)
    }


def test_its_entry_points_are_the_examples() -> None:
    """The entry points on the page must be those of the example."""
    (shown,) = (text for language, text in BLOCKS if language == "toml")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]

    assert project["entry-points"] == tomllib.loads(shown)["project"]["entry-points"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_it_names_exists(path: str) -> None:
    """Every path the page names must exist in the repository."""
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_it_uses_is_public(name: str) -> None:
    """Every name the page tells authors to use must be public, or a field of a public class."""
    public = {*api.__all__, *conformance_api.__all__}
    fields = {
        field
        for each in (api.Provider, api.Poll, conformance_api.Candidate)
        for field in each.__struct_fields__
    }

    assert name in public | fields | {"TASKS", "FILTERS", "Attributes", USERS.name}


def test_names_and_paths_are_found() -> None:
    """The tests before this one would pass if nothing was found on the page."""
    assert len(PATHS) > 5
    assert len(NAMES) > 15
