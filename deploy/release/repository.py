"""The repository to release, accessed with git and GitHub's command line."""

from __future__ import annotations

# All arguments come from this package, and the programs are looked up in PATH.
import subprocess  # nosec B404
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


#: The branch of releases.
BRANCH = "main"


class RefusalError(Exception):
    """A release is refused; the message gives the reason and the remedy."""


def run(root: Path, *command: str) -> None:
    """Run a command and show its output.

    Raises:
        RefusalError: The command failed, or the program does not exist.
    """
    try:
        code = subprocess.run(command, cwd=root, check=False).returncode  # noqa: S603  # nosec B603
    except OSError as error:
        raise RefusalError(f"`{' '.join(command)}` failed: {error}") from error
    if code != 0:
        raise RefusalError(f"`{' '.join(command)}` failed with {code}; fix the errors above")


def output(root: Path, *command: str) -> str:
    """Return the output of a command, without the last line break.

    Raises:
        RefusalError: The command failed, or the program does not exist.
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
    """Return the files under version control that match any of the globs."""
    return output(root, "git", "ls-files", "--", *(f":(glob){each}" for each in globs)).splitlines()
