"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path


ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("exporter", "tests") for path in (ROOT / folder).rglob("*.py"))


def test_every_test_says_what_must_hold() -> None:
    """A test without a sentence is a riddle for whoever sees it fail."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert [] == silent


def test_docstrings_name_their_subject() -> None:
    """A docstring that begins with a question word leaves its subject to be guessed."""
    riddles = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "exporter")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (text := ast.get_docstring(node) or "")
        and re.match(r"(What|Who|Where|Whether|How|Which)", text)
    ]

    assert [] == riddles


def test_vendor_families_are_spelled_in_the_catalogue_only() -> None:
    """A metric's name must be in one place."""
    speakers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.is_relative_to(ROOT / "exporter")
        and re.search(r"[\"']loadfleet_(?!exporter)[a-z_]+[\"']", path.read_text())
    }

    assert set() == speakers
