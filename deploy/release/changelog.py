"""The change log: what is not released yet becomes a version's section, and that its notes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploy.release.repository import RefusalError


if TYPE_CHECKING:
    from datetime import date

    from deploy.release.versions import Version


NAME = "CHANGELOG.md"
UNRELEASED = "Unreleased"

_REPOSITORY = "https://github.com/loadfleet/loadfleet-exporter"


def section(text: str, title: str) -> str:
    """Return what stands below the heading of a version, or of what is not released yet.

    Raises:
        RefusalError: There is no such heading, or nothing is told below it.
    """
    found = re.search(
        rf"^## {re.escape(title)}(?: \(\d{{4}}-\d\d-\d\d\))?\n(.*?)(?=^## |\Z)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        raise RefusalError(f'{NAME}: there is no heading "## {title}"; write it')
    if not re.search(r"^- ", found[1], re.MULTILINE):
        raise RefusalError(
            f'{NAME}: nothing is told below "## {title}"; tell what changes for users'
        )
    return found[1].strip() + "\n"


def released(text: str, version: Version, today: date) -> str:
    """Return the change log with all that was not released yet as a version's section."""
    section(text, UNRELEASED)
    heading = f"## {UNRELEASED}\n"
    return text.replace(heading, f"{heading}\n## {version} ({today.isoformat()})\n", 1)


def notes(text: str, version: Version) -> str:
    """Return a version's section for a page without the repository around it."""
    return re.sub(
        r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)",
        rf"[\1]({_REPOSITORY}/blob/v{version}/\2)",
        section(text, str(version)),
    )
