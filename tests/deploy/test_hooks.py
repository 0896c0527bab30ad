"""The hooks for git: they need no network, and the repository passes them."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.locks import ROOT
from tests.deploy.tools import tool


CONFIG = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
HOOKS: list[dict[str, Any]] = [hook for repo in CONFIG["repos"] for hook in repo["hooks"]]

_SUFFIXES = {"python": (".py",), "pyi": (".pyi",), "yaml": (".yml", ".yaml")}


@cache
def files() -> tuple[Path, ...]:
    """Return the files that git has."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    names = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in names if path.is_file() and not path.is_symlink())


def chosen(hook: dict[str, Any]) -> list[Path]:
    """Return the files that a hook is given."""
    types: list[str] = hook.get("types_or") or hook["types"]
    suffixes = tuple(suffix for each in types for suffix in _SUFFIXES.get(each, ()))
    skipped = re.compile(hook.get("exclude", "^$"))
    return [
        path
        for path in files()
        if not skipped.search(str(path.relative_to(ROOT)))
        and (path.name.endswith(suffixes) if suffixes else b"\0" not in path.read_bytes())
    ]


def test_no_hook_comes_from_elsewhere() -> None:
    """A hook of another repository, or with dependencies of its own, would be downloaded."""
    assert {"local"} == {repo["repo"] for repo in CONFIG["repos"]}
    assert {"system", "pygrep"} >= {hook["language"] for hook in HOOKS}
    assert not any("additional_dependencies" in hook for hook in HOOKS)


# Other versions of ruff than the locked one, on which the fast lane runs too, have other rules.
@pytest.mark.slow
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_finds_nothing(hook: dict[str, Any]) -> None:
    """Every file of the repository passes the hooks."""
    paths = chosen(hook)
    assert paths

    if hook["language"] == "pygrep":
        pattern = re.compile(hook["entry"].encode(), re.MULTILINE | re.DOTALL)
        assert [] == [path for path in paths if pattern.search(path.read_bytes())]
        return
    program, *arguments = shlex.split(hook["entry"])
    command = [tool(Path(program).name), *arguments, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("content", "is_found"), [("a\n", False), ("a", True), ("a\n\n", True), ("", False)]
)
def test_the_end_of_a_file(content: str, *, is_found: bool) -> None:
    """One newline, no less and no more."""
    (hook,) = (each for each in HOOKS if each["id"] == "end-of-file")

    assert is_found == bool(re.search(hook["entry"], content, re.MULTILINE | re.DOTALL))
