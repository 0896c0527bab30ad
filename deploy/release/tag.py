"""A pushed tag: the checks before publishing, and the names to publish under."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.release import changelog, versions
from deploy.release.repository import BRANCH, RefusalError, output


if TYPE_CHECKING:
    from pathlib import Path

    from deploy.release.versions import Version


IMAGE = "ghcr.io/loadfleet/loadfleet-exporter"


def facts(root: Path, tag: str) -> dict[str, str]:
    """Check a tag and return the facts for the publishing jobs.

    Args:
        root: The repository's folder, checked out at the tag, with all tags and `origin/main`.
        tag: The pushed tag.

    Returns:
        Texts by name: `version`; `prerelease` and `latest`, true or false; `images`, the image's
        names, separated by commas; `created`, the time of the commit.

    Raises:
        RefusalError: This tag must not be published.
    """
    version = versions.parsed(tag.removeprefix("v"))
    current = versions.current(root)
    if tag != f"v{current}":
        raise RefusalError(
            f"the tag is {tag}, but {versions.SOURCE} has the version {current};"
            " delete the tag, and make the release commit with `just release`"
        )
    for name, line, found in versions.mistaken(root, version):
        raise RefusalError(f"{name}:{line}: the version is {found}; set it with `just release`")
    changelog.section((root / changelog.NAME).read_text(encoding="utf-8"), str(version))
    branches = ("git", "branch", "--remotes", "--list", f"origin/{BRANCH}", "--contains", "HEAD")
    if not output(root, *branches):
        raise RefusalError(f"the tag's commit is not on {BRANCH}; merge it, and tag it there")
    names = _names(version, _releases(root))
    return {
        "version": str(version),
        "prerelease": _word(version.prerelease),
        "latest": _word("latest" in names),
        "images": ",".join(f"{IMAGE}:{name}" for name in names),
        "created": output(root, "git", "show", "--no-patch", "--format=%cI", "HEAD"),
    }


def _word(value: bool) -> str:  # noqa: FBT001 - a value to write
    return str(value).lower()


def _releases(root: Path) -> list[Version]:
    """Return the versions of all tags, without pre-releases and other tags."""
    found = []
    for tag in output(root, "git", "tag", "--list", "v*").splitlines():
        try:
            version = versions.parsed(tag.removeprefix("v"))
        except RefusalError:
            continue
        if not version.prerelease:
            found.append(version)
    return found


def _names(version: Version, releases: list[Version]) -> list[str]:
    """Return the tags of the image. Only the newest release gets the moving ones, such as `latest`.

    So neither a pre-release nor the repeated publishing of an old release moves them.
    """
    names = [str(version)]
    if not version.prerelease:
        if version == max([version, *(each for each in releases if each.series == version.series)]):
            names.append(version.series)
        if version == max([version, *releases]):
            names.append("latest")
    return names
