"""The repository that is released, as git and GitHub tell it."""

from __future__ import annotations

# The arguments are a release's own, and the programs are looked up as in any shell.
import subprocess  # nosec B404
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


#: Where releases are made.
BRANCH = "main"


class RefusalError(Exception):
    """Say why there can be no release: the message names the place and the remedy."""


def run(root: Path, *command: str) -> None:
    """Run a command whose output is for the person.

    Raises:
        RefusalError: It failed, or there is no such program.
    """
    try:
        code = subprocess.run(command, cwd=root, check=False).returncode  # noqa: S603  # nosec B603
    except OSError as error:
        raise RefusalError(f"`{' '.join(command)}` failed: {error}") from error
    if code != 0:
        raise RefusalError(f"`{' '.join(command)}` failed with {code}; mend what it says above")


def output(root: Path, *command: str) -> str:
    """Return what a command prints, without the last line's end.

    Raises:
        RefusalError: It failed, or there is no such program.
    """
    try:
        done = subprocess.run(  # noqa: S603  # nosec B603
            command, cwd=root, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise RefusalError(f"`{' '.join(command)}` failed: {said.strip()}") from error
    return done.stdout.rstrip("\n")


def files(root: Path, *globs: str) -> list[str]:
    """Return the files under version control that match one of some globs."""
    return output(root, "git", "ls-files", "--", *(f":(glob){each}" for each in globs)).splitlines()
