"""The page that leads from a field to a metric, walked through in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.locks import ROOT
from tests.deploy.tools import tool
from tests.support.processes import free_port


if TYPE_CHECKING:
    from collections.abc import Iterator


#: It starts a dozen processes one after the other.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAGE = ROOT / "deploy" / "docs" / "development" / "metric.md"

#: Renewed by commands; everything else is changed by hand.
GENERATED = {
    "grafana/dashboards/loadfleet-agents.json",
    "deploy/docs/reference/metrics.md",
}

_BLOCK = re.compile(r"^```(diff|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HUNK = re.compile(r"^@@ (\S+) @@\n((?:[ +].*\n|\n)+)", re.MULTILINE)


def test_the_page_leads_to_a_metric(tmp_path: Path) -> None:
    """The page names every place to change, and each of its commands succeeds."""
    copied(tmp_path)
    changed = set(GENERATED)
    tests: list[str] = []

    for language, block in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language == "diff":
            changed |= set(applied(block, tmp_path))
        elif not block.startswith("just lint"):
            tests += re.findall(r"^pytest -q (.+)$", block, re.MULTILINE)
            run(re.sub(r"^pytest .+$", "", block, flags=re.MULTILINE), tmp_path)

    # Together, since each start of pytest takes seconds.
    chosen = [each for each in tests if "-k" in each]
    for each in [" ".join(each for each in tests if each not in chosen), *chosen]:
        run(f"pytest -q {each}", tmp_path)
    status = run("git status --porcelain", tmp_path).splitlines()
    assert sorted(changed) == sorted(line[3:] for line in status)
    assert f"shows {len(changed)} changed files" in PAGE.read_text(encoding="utf-8")


def copied(folder: Path) -> None:
    """Copy what git has of the repository, as it stands in the working tree, into a new one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, place = ROOT / name, folder / name
        if source.is_symlink() or source.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place, follow_symlinks=False)
    (folder / ".venv").symlink_to(Path(tool("just")).parent.parent)
    commit = "git -c user.name=test -c user.email=test@example.com commit --quiet --message=All"
    run(f"git init --quiet && echo .venv >.git/info/exclude && git add --all && {commit}", folder)


def applied(block: str, folder: Path) -> Iterator[str]:
    """Change files by the hunks of a block and yield their names.

    A hunk begins with the file's name. Its lines without `+` stand in the file, and once only.
    """
    hunks = _HUNK.findall(block)
    assert block.count("@@") == 2 * len(hunks), block
    for name, text in hunks:
        lines = [(line[:1], line[1:]) for line in text.splitlines()]
        before = "".join(f"{line}\n" for sign, line in lines if sign != "+")
        after = "".join(f"{line}\n" for _, line in lines)
        path = folder / name
        content = "\n" + path.read_text(encoding="utf-8")
        assert 1 == content.count("\n" + before), (name, before)
        path.write_text(content.replace("\n" + before, "\n" + after)[1:], encoding="utf-8")
        yield name


def run(script: str, folder: Path) -> str:
    """Run a block of the page in the copy and return what it printed."""
    done = subprocess.run(
        ["bash", "-e", "-c", re.sub(r":9716\b", f":{free_port()}", script)],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout
