"""What the README says on adding a provider is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]

_SECTION = (ROOT / "README.md").read_text().partition("## Adding a provider\n")[2]
SECTION = re.split(r"^## ", _SECTION, maxsplit=1, flags=re.MULTILINE)[0]

PATHS = sorted(set(re.findall(r"`((?:exporter|tests)/[\w/.]+)`", SECTION)))
FILES = sorted(set(re.findall(r"`(\w+\.py)`", SECTION)))
NAMES = sorted(set(re.findall(r"`(_?[A-Z]\w*|[a-z]+_[a-z]+)(?:\([^`]*\))?`", SECTION)))


def test_the_section_is_there() -> None:
    """What follows would pass without it."""
    assert len(PATHS) > 8
    assert len(NAMES) > 8


@pytest.mark.parametrize("path", PATHS)
def test_a_path_it_names_exists(path: str) -> None:
    """Who is sent somewhere has to find something there."""
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", FILES)
def test_the_example_has_the_files_it_names(name: str) -> None:
    """The package that it points to is laid out as it says."""
    assert (ROOT / "exporter" / "sources" / "eggplant" / name).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_it_uses_is_known(name: str) -> None:
    """Each class, function or constant is defined or used somewhere in the code."""
    known = re.compile(rf"\b{name}\b")
    code = [*(ROOT / "exporter").rglob("*.py"), ROOT / "tests" / "support" / "candidates.py"]

    assert any(known.search(path.read_text()) for path in code)
