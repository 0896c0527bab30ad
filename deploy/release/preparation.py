"""Preparation of a release: the checks and the release commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.release import changelog, versions
from deploy.release.repository import BRANCH, RefusalError, output, run


if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


def prepare(root: Path, version: versions.Version, today: date, *, checked: bool) -> None:
    """Commit a release: the version in all files, and its section of the change log.

    Args:
        root: The repository's folder.
        version: The version.
        today: The date of the section.
        checked: Whether to check on GitHub that the tests passed, instead of running them.

    Raises:
        RefusalError: The repository is not ready for a release; nothing is changed.
    """
    before = versions.current(root)
    if version <= before:
        raise RefusalError(f"{versions.SOURCE}: the version is {before}; release a higher one")
    branch = output(root, "git", "branch", "--show-current")
    if branch != BRANCH:
        raise RefusalError(
            f"this is the branch {branch or '(none)'}; releases are made on {BRANCH}:"
            f" `git switch {BRANCH}`"
        )
    if output(root, "git", "tag", "--list", f"v{version}"):
        raise RefusalError(f"the tag v{version} already exists; release a higher version")
    _refuse_changes(root)
    log = (root / changelog.NAME).read_text(encoding="utf-8")
    changelog.section(log, changelog.UNRELEASED)

    if checked:
        _refuse_unless_green(root)
    else:
        run(root, ".ci/run")
    _refuse_changes(root)

    try:
        versions.change(root, version)
        (root / changelog.NAME).write_text(
            changelog.released(log, version, today), encoding="utf-8"
        )
        run(root, "just", "docs")
        output(root, "git", "commit", "--all", "--message", f"Release {version}")
    except BaseException:
        output(root, "git", "reset", "--quiet", "--hard")
        raise


def _refuse_changes(root: Path) -> None:
    changed = output(root, "git", "status", "--porcelain")
    if changed:
        raise RefusalError(f"these files are not committed; commit or remove them:\n{changed}")


def _refuse_unless_green(root: Path) -> None:
    commit = output(root, "git", "rev-parse", "HEAD")
    found = output(
        root,
        *("gh", "run", "list", "--workflow", "ci.yml", "--commit", commit),
        *("--status", "success", "--json", "databaseId", "--jq", "length"),
    )
    if found in {"", "0"}:
        raise RefusalError(
            f"ci.yml has not passed on {commit}; push it and wait, or leave out --checked"
        )
