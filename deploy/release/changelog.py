"""The change log: its section of unreleased changes becomes that of a version, with the notes."""

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
    """Return the section of a version, or that of unreleased changes.

    Raises:
        RefusalError: The section does not exist or has no entries.
    """
    found = re.search(
        rf"^## {re.escape(title)}(?: \(\d{{4}}-\d\d-\d\d\))?\n(.*?)(?=^## |\Z)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        raise RefusalError(f'{NAME}: there is no heading "## {title}"; write it')
    if not re.search(r"^- ", found[1], re.MULTILINE):
        raise RefusalError(f'{NAME}: no entries below "## {title}"; list the changes for users')
    return found[1].strip() + "\n"


def released(text: str, version: Version, today: date) -> str:
    """Return the change log with the unreleased changes in the section of a version."""
    section(text, UNRELEASED)
    heading = f"## {UNRELEASED}\n"
    return text.replace(heading, f"{heading}\n## {version} ({today.isoformat()})\n", 1)


def notes(text: str, version: Version) -> str:
    """Return a version's section with absolute links, for a page outside the repository."""
    return re.sub(
        r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)",
        rf"[\1]({_REPOSITORY}/blob/v{version}/\2)",
        section(text, str(version)),
    )
