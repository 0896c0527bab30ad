"""`python -m deploy.reference.site FOLDER` builds the documentation's site, without a warning.

GitHub shows the documents as they are in the repository. In the site's copy, a link that leads
out of `deploy/docs` leads to the runbook's page of the site or to the file on GitHub.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess  # nosec B404
import sys
from pathlib import Path


ROOT = Path(__file__).parents[2]

#: The repository's files, for pages that are shown elsewhere.
HOME = "https://github.com/loadfleet/loadfleet-exporter/blob/main/"
_DOCS = ROOT / "deploy" / "docs"
_RUNBOOKS = ROOT / "deploy" / "runbooks"
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def build(folder: Path) -> int:
    """Build the site in a folder and return the builder's exit code; the pages are in `site`.

    Raises:
        LookupError: The navigation has no page before which the runbooks are inserted.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_DOCS, folder / "docs")
    shutil.copytree(_RUNBOOKS, folder / "docs" / "runbooks")
    for page in (folder / "docs").rglob("*.md"):
        place = page.relative_to(folder / "docs")
        page.write_text(fitted(page.read_text(encoding="utf-8"), place), encoding="utf-8")
    names = sorted(path.name for path in _RUNBOOKS.glob("*.md"))
    runbooks = "".join(f'            "runbooks/{name}",\n' for name in names)
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    marker = '        "reference/pages.md",\n'
    if marker not in config:
        raise LookupError("zensical.toml: the navigation lacks reference/pages.md; add the page")
    config = config.replace(marker, f'        {{ "Runbooks" = [\n{runbooks}        ] }},\n{marker}')
    (folder / "zensical.toml").write_text(config, encoding="utf-8")
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict"]
    return subprocess.run(command, cwd=folder, check=False).returncode  # noqa: S603  # nosec B603


def fitted(text: str, place: Path) -> str:
    """Return a page's text with the links that the site needs.

    Args:
        text: The page in Markdown.
        place: The page's path below the site's documents.
    """
    source = _RUNBOOKS if place.parts[0] == "runbooks" else _DOCS / place.parent

    def led(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(source / match[1]))
        if target.is_relative_to(_DOCS):
            target = target.relative_to(_DOCS)
        elif target.is_relative_to(_RUNBOOKS):
            target = "runbooks" / target.relative_to(_RUNBOOKS)
        else:
            return f"{HOME}{target.relative_to(ROOT)}"
        return os.path.relpath(target, place.parent)

    return _LINK.sub(led, text)


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1])))
