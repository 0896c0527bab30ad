"""A repository to release: this checkout's files in one commit on main, with an origin."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.release import changelog, versions
from tests.deploy.locks import ROOT


NOW = versions.current(ROOT)
NEXT = versions.Version(NOW.major, NOW.minor + 1, 0)

_PERSON = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.com",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.com",
}

#: A stub that records its call and runs the test's script.
_STUB = '#!/bin/bash\necho "{name} $*" >>"$CALLS"\n{script}\n'


class Clone:
    """A clone for a release, with stub programs first on its path."""

    def __init__(self, template: Path, folder: Path) -> None:
        self.root = folder / "clone"
        self._calls = folder / "calls"
        self._programs = folder / "programs"
        self._programs.mkdir()
        path = [str(self._programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        self._environ = {
            **os.environ,
            **_PERSON,
            "PATH": os.pathsep.join(path),
            "CALLS": str(self._calls),
        }
        origin = folder / "origin.git"
        for command in (
            ("git", "clone", "--quiet", "--bare", template, origin),
            ("git", "clone", "--quiet", origin, self.root),
        ):
            subprocess.run(command, check=True, env=self._environ)

    def run(self, *command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self._environ | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert 0 == done.returncode, done.stderr
        return done.stdout.rstrip("\n")

    def release(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command of the justfile and the workflow."""
        return self.run(sys.executable, "-m", "deploy.release", *arguments, **environ)

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        text = self.read(name)
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def commit(self) -> None:
        """Commit everything, and push it to main."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change something")
        self.git("push", "--quiet", "origin", "HEAD:main")

    def stub(self, name: str, script: str = "") -> None:
        """Add a stub program to the path."""
        _write_stub(self._programs / name, script)

    def called(self) -> list[str]:
        """Return the calls of stubs with their arguments."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []


def publish(clone: Clone, version: str) -> None:
    """Prepare a release, and run the printed commands."""
    done = clone.release("prepare", version)
    assert 0 == done.returncode, done.stderr
    commands = re.findall(r"^    (git .+)$", done.stdout, re.MULTILINE)
    assert ["tag", "push"] == [command.split()[1] for command in commands]
    for command in commands:
        ended = clone.run("bash", "-c", command)
        assert 0 == ended.returncode, ended.stderr


def _write_stub(path: Path, script: str) -> None:
    path.write_text(_STUB.format(name=path.name, script=script))
    path.chmod(0o755)


def make_template(root: Path) -> None:
    """Make the repository to clone, with something to release, and a stub as the tests.

    The stub ends with the code `RUN_CODE`.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    _write_stub(root / ".ci" / "run", 'exit "${RUN_CODE:-0}"')
    log = root / changelog.NAME
    heading = f"## {changelog.UNRELEASED}\n"
    log.write_text(log.read_text().replace(heading, f"{heading}\n- It can be released.\n", 1))
    for command in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        ("commit", "--quiet", "--message=Begin"),
        ("gc", "--quiet"),  # a clone of one pack takes a third of the time
    ):
        subprocess.run(["git", *command], cwd=root, check=True, env={**os.environ, **_PERSON})
