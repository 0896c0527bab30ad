"""Versions, and all places in files that repeat the version of `exporter/__init__.py`."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from deploy.release.repository import RefusalError, files


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SOURCE = "exporter/__init__.py"

#: The stage of a release, which sorts after all stages of pre-releases.
_FINAL = "~"

_FORM = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-?(a|b|rc)\.?(\d+))?")


class Version(NamedTuple):
    """A version with the usual order: 1.2.3rc1 is before 1.2.3."""

    major: int
    minor: int
    patch: int
    stage: str = _FINAL
    number: int = 0

    @property
    def prerelease(self) -> bool:
        """True for an alpha, a beta or a release candidate."""
        return self.stage != _FINAL

    @property
    def series(self) -> str:
        """The major and minor number, such as 1.2."""
        return f"{self.major}.{self.minor}"

    def spelled(self, before: str = "", between: str = "") -> str:
        """Return the version with these separators before and within a pre-release's stage."""
        stage = f"{before}{self.stage}{between}{self.number}" if self.prerelease else ""
        return f"{self.series}.{self.patch}{stage}"

    def __str__(self) -> str:
        """Return the version as in Python packages: 1.2.3rc1."""
        return self.spelled()


def parsed(text: str) -> Version:
    """Return the version from a text in any spelling.

    Raises:
        RefusalError: The text is no version.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise RefusalError(f"{text!r} is no version; write 1.2.3, or 1.2.3rc1 for a pre-release")
    major, minor, patch, stage, number = found.groups()
    return Version(int(major), int(minor), int(patch), stage or _FINAL, int(number or 0))


class Place(NamedTuple):
    """A place of the version: globs of files, and a pattern whose group is the version."""

    files: tuple[str, ...]
    pattern: str
    spelling: tuple[str, str] = ("", "")


#: A version in any spelling.
_ANY = r"(\d+\.\d+\.\d+(?:-?(?:a|b|rc)\.?\d+)?)"

#: Helm requires Semantic Versioning: 1.2.3-rc.1.
_SEMANTIC = ("-", ".")

_DOCUMENTS = ("README.md", "deploy/**/*.md")
_KUSTOMIZE = ("deploy/docs/**/*.md", "deploy/kubernetes/**/*.yaml")
_CHART = ("deploy/helm/*/Chart.yaml",)

#: Globs may match no file. tests/deploy/test_release.py finds versions that no row covers.
PLACES = (
    Place((SOURCE,), rf'^__version__ = "{_ANY}"$'),
    Place(("Dockerfile",), rf"^ARG VERSION={_ANY}$"),
    Place(_CHART, rf'^version: "?{_ANY}"?$', _SEMANTIC),
    Place(_CHART, rf'^appVersion: "?{_ANY}"?$'),
    Place(_KUSTOMIZE, rf"^ +(?:newTag|app\.kubernetes\.io/version): {_ANY}$"),
    # Tags of images, requirements, and arguments of uvx.
    Place((*_DOCUMENTS, "deploy/**/*.y*ml"), rf"(?<!charts/)\bloadfleet-exporter(?::|==|@){_ANY}"),
    Place(_DOCUMENTS, rf"\bcharts/loadfleet-exporter:{_ANY}", _SEMANTIC),
    # Names of files: wheel and sdist, Debian packages, SBOM, chart.
    Place(_DOCUMENTS, rf"\bloadfleet(?:_exporter-|-exporter_){_ANY}"),
    Place(_DOCUMENTS, rf"\bloadfleet-exporter-{_ANY}(?=\.cdx\.json)"),
    Place(_DOCUMENTS, rf"\bloadfleet-exporter-{_ANY}(?=\.tgz)", _SEMANTIC),
    # The chart's version, also on the next line of a command, and URLs with a tag.
    Place(_DOCUMENTS, rf"/loadfleet-exporter (?:\\\n|[^\n])*?--version[ =]{_ANY}", _SEMANTIC),
    Place(_DOCUMENTS, rf"/loadfleet-exporter/(?:[a-z]+/)*v{_ANY}\b"),
)


def current(root: Path) -> Version:
    """Return the version in `exporter/__init__.py`."""
    found = re.search(PLACES[0].pattern, (root / SOURCE).read_text(), re.MULTILINE)
    if found is None:
        raise RefusalError(f'{SOURCE}: has no line such as `__version__ = "1.2.3"`; write it')
    return parsed(found[1])


def mistaken(root: Path, version: Version) -> Iterator[tuple[str, int, str]]:
    """Yield file, line and text of each version that differs or is spelled differently."""
    for place in PLACES:
        for name in files(root, *place.files):
            text = (root / name).read_text(encoding="utf-8")
            for match in re.finditer(place.pattern, text, re.MULTILINE):
                if match[1] != version.spelled(*place.spelling):
                    yield name, text.count("\n", 0, match.start(1)) + 1, match[1]


def change(root: Path, version: Version) -> None:
    """Write the version into all places."""
    for place in PLACES:
        spelled = version.spelled(*place.spelling)
        for name in files(root, *place.files):
            before = (root / name).read_text(encoding="utf-8")
            put = partial(_with_group, spelled)
            after = re.sub(place.pattern, put, before, flags=re.MULTILINE)
            if after != before:
                (root / name).write_text(after, encoding="utf-8")


def _with_group(new: str, match: re.Match[str]) -> str:
    """Return the text of a match with `new` in place of its group."""
    start, end = match.start(1) - match.start(), match.end(1) - match.start()
    return match[0][:start] + new + match[0][end:]
