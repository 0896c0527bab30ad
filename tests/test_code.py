"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("exporter", "tests") for path in (ROOT / folder).rglob("*.py"))


def test_every_test_says_what_must_hold() -> None:
    """Every test must have a docstring."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert [] == silent


def test_the_package_does_without_its_tests() -> None:
    """An installation has no `tests`, and the conformance suite must run there."""
    leaning = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.is_relative_to(ROOT / "exporter")
        and re.search(r"^\s*(from|import) tests\b", path.read_text(), re.MULTILINE)
    ]

    assert [] == leaning


def test_docstrings_name_their_subject() -> None:
    """A docstring that begins with a question word leaves its subject to be guessed."""
    riddles = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in [*SOURCES, *sorted((ROOT / "deploy").rglob("*.py"))]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (text := ast.get_docstring(node) or "")
        and re.match(r"(What|Who|Where|Whether|How|Which)", text)
    ]

    assert [] == riddles


@pytest.mark.parametrize("provider", ["locust", "selenium"])
def test_providers_need_the_public_module_alone(provider: str) -> None:
    """The providers must use `exporter.sources.api` alone, in 600 lines, as plug-ins can."""
    folder = ROOT / "exporter" / "sources" / provider
    files = sorted(folder.rglob("*.py"))
    imported = {
        name
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [f"{'.' * node.level}{node.module or ''}"]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    ours = f"exporter.sources.{provider}"

    assert "exporter.sources.api" in imported
    assert {"exporter.sources.api"} == {
        name
        for name in imported
        if name.startswith(("exporter", ".")) and name != ours and not name.startswith(f"{ours}.")
    }
    assert 600 >= sum(map(lines_of_code, files))


def lines_of_code(path: Path) -> int:
    """Count a file's lines without blank lines, comments and docstrings."""
    lines: set[int] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.stmt() | ast.expr() | ast.alias() | ast.arg() | ast.keyword():
                lines |= {node.lineno, node.end_lineno or node.lineno}
        waiting += ast.iter_child_nodes(node)
    return len(lines)


def test_vendor_families_are_spelled_in_the_catalogue_only() -> None:
    """A metric's name must be in one place."""
    speakers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.is_relative_to(ROOT / "exporter")
        and re.search(r"[\"']loadfleet_(?!exporter)[a-z_]+[\"']", path.read_text())
    }

    assert set() == speakers
