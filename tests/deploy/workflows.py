"""The workflows as data, and their steps as the runner runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.locks import ROOT


if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.deploy.release import Clone


FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))

#: The runner's shell commands: `pipefail` is set only if a step names its shell.
_SHELLS = {
    None: ("bash", "-e"),
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
}


def workflow(path: Path) -> dict[Any, Any]:
    """Return a workflow; YAML reads its key `on` as true."""
    content: dict[Any, Any] = yaml.safe_load(path.read_text())
    return content


RELEASE = workflow(FOLDER / "release.yml")


def step(job: str, name: str) -> dict[str, Any]:
    """Return a step of the release."""
    (found,) = (each for each in RELEASE["jobs"][job]["steps"] if each["name"] == name)
    return dict(found)


def perform(clone: Clone, job: str, name: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script in a clone, with the values that the runner would fill in."""
    script = clone.root.parent / "step.sh"
    script.write_text(step(job, name)["run"])
    shell = RELEASE.get("defaults", {}).get("run", {}).get("shell")
    return clone.run(*_SHELLS[shell], script, **environ)
