"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("exporter", "tests") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("ruff", ["check", "."]),
        ("ruff", ["format", "--check", "."]),
        ("mypy", []),
    ],
    ids=["ruff check", "ruff format", "mypy"],
)
@pytest.mark.timeout(600)
def test_the_checker_finds_nothing(module: str, arguments: list[str]) -> None:
    """The code must pass the checkers with the settings in pyproject.toml."""
    if find_spec(module) is None and not os.environ.get("CI"):
        pytest.skip(f"{module} is not installed; it comes with the extra `dev`")

    result = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == result.returncode, result.stdout + result.stderr


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


def test_only_the_http_package_imports_httpx() -> None:
    """The library under the calls must be replaceable in one place."""
    importers = {
        str(path.relative_to(ROOT).parent)
        for path in SOURCES
        if path.is_relative_to(ROOT / "exporter")
        and re.search(r"^\s*(import|from) httpx(_aiohttp)?\b", path.read_text(), re.MULTILINE)
    }

    assert {"exporter/http"} == importers


def test_vendor_families_are_spelled_in_the_catalogue_only() -> None:
    """A metric's name must be in one place."""
    speakers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.is_relative_to(ROOT / "exporter")
        and re.search(r"[\"']loadfleet_(?!exporter)[a-z_]+[\"']", path.read_text())
    }

    assert set() == speakers
