"""The documentation's site is built without a warning, and its links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag

import pytest

from deploy.reference import site


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.slow

DOCS = site.ROOT / "deploy" / "docs"


class Html(HTMLParser):
    """Collects the anchors of a page, and what it links to or loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        elif tag in {"img", "script"} and "src" in values:
            self.loaded.add(values["src"])
        elif tag == "link" and values.get("rel") == "stylesheet":
            self.loaded.add(values["href"])


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Html]:
    """Build the site as `just site` does and return its pages by path."""
    folder = tmp_path_factory.mktemp("site") / "dist"
    built = subprocess.run(
        [sys.executable, "-m", "deploy.reference.site", folder],
        cwd=site.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == built.returncode, built.stdout + built.stderr
    return {path: Html(path) for path in (folder / "site").rglob("index.html")}


def test_no_link_within_the_site_is_dead(pages: dict[Path, Html]) -> None:
    """Each link, picture and script names a file of the site, and an anchor in it."""
    dead = [
        f"{path}: {link}"
        for path, page in pages.items()
        for link in page.links | page.loaded
        if "://" not in link and not link.startswith("mailto:") and not leads(path, link, pages)
    ]

    assert [] == dead


def leads(path: Path, link: str, pages: dict[Path, Html]) -> bool:
    """Return whether a link on a page has a target."""
    name, anchor = urldefrag(unquote(link))
    target = (path.parent / name).resolve() if name else path
    if target.is_dir():
        target /= "index.html"
    return target.exists() and (
        not anchor or target not in pages or anchor in pages[target].anchors
    )


def test_links_into_the_repository_name_a_file(pages: dict[Path, Html]) -> None:
    """A link that leaves the documents names a file of the repository."""
    links = {link for page in pages.values() for link in page.links if link.startswith(site.HOME)}

    assert links
    assert [] == [
        link
        for link in links
        if not (site.ROOT / urldefrag(link)[0].removeprefix(site.HOME)).exists()
    ]


def test_a_page_loads_nothing_from_elsewhere(pages: dict[Path, Html]) -> None:
    """The site can be read behind a firewall."""
    loaded = {link for page in pages.values() for link in page.loaded}

    assert loaded
    assert [] == [link for link in loaded if "://" in link]


def test_each_page_is_in_the_navigation() -> None:
    """The navigation names every page of the documents, and no other."""
    project = tomllib.loads((site.ROOT / "zensical.toml").read_text())["project"]

    listed = sorted(listed_in(project["nav"]))

    assert sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")) == listed


def listed_in(entry: Any) -> Iterator[str]:
    """Yield the pages that an entry of the navigation names."""
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from listed_in(inner)
