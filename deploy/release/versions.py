"""Versions, and every place that repeats the one of `exporter/__init__.py`."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from deploy.release.repository import RefusalError, files


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SOURCE = "exporter/__init__.py"

#: What sorts behind every stage of a pre-release.
_FINAL = "~"

_FORM = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-?(a|b|rc)\.?(\d+))?")


class Version(NamedTuple):
    """A version, which compares as versions do: 1.2.3rc1 is before 1.2.3."""

    major: int
    minor: int
    patch: int
    stage: str = _FINAL
    number: int = 0

    @property
    def prerelease(self) -> bool:
        """Tell an alpha, a beta or a release candidate from a release."""
        return self.stage != _FINAL

    @property
    def series(self) -> str:
        """Return what its patches have in common, such as 1.2."""
        return f"{self.major}.{self.minor}"

    def spelled(self, before: str = "", between: str = "") -> str:
        """Return it with these signs before and within the stage of a pre-release."""
        stage = f"{before}{self.stage}{between}{self.number}" if self.prerelease else ""
        return f"{self.series}.{self.patch}{stage}"

    def __str__(self) -> str:
        """Return it as Python's packages write it: 1.2.3rc1."""
        return self.spelled()


def parsed(text: str) -> Version:
    """Return the version that a text is, in any spelling.

    Raises:
        RefusalError: It is none.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise RefusalError(f"{text!r} is no version; write 1.2.3, or 1.2.3rc1 for a pre-release")
    major, minor, patch, stage, number = found.groups()
    return Version(int(major), int(minor), int(patch), stage or _FINAL, int(number or 0))


class Place(NamedTuple):
    """Where the version is repeated: files by git's globs, and the version as a pattern's group."""

    files: tuple[str, ...]
    pattern: str
    spelling: tuple[str, str] = ("", "")


#: A version in any spelling.
_ANY = r"(\d+\.\d+\.\d+(?:-?(?:a|b|rc)\.?\d+)?)"

#: Helm asks for Semantic Versioning: 1.2.3-rc.1.
_SEMANTIC = ("-", ".")

_DOCUMENTS = ("README.md", "deploy/**/*.md")
_KUSTOMIZE = ("deploy/docs/**/*.md", "deploy/kubernetes/**/*.yaml")
_CHART = ("deploy/helm/*/Chart.yaml",)

#: A file that is not there repeats nothing. tests/deploy/test_release.py finds what is in no row.
PLACES = (
    Place((SOURCE,), rf'^__version__ = "{_ANY}"$'),
    Place(("Dockerfile",), rf"^ARG VERSION={_ANY}$"),
    Place(_CHART, rf'^version: "?{_ANY}"?$', _SEMANTIC),
    Place(_CHART, rf'^appVersion: "?{_ANY}"?$'),
    Place(_KUSTOMIZE, rf"^ +(?:newTag|app\.kubernetes\.io/version): {_ANY}$"),
    # Tags of images, requirements, and what uvx takes.
    Place((*_DOCUMENTS, "deploy/**/*.y*ml"), rf"(?<!charts/)\bloadfleet-exporter(?::|==|@){_ANY}"),
    Place(_DOCUMENTS, rf"\bcharts/loadfleet-exporter:{_ANY}", _SEMANTIC),
    # Names of files: wheel and sdist, Debian packages, SBOM, chart.
    Place(_DOCUMENTS, rf"\bloadfleet(?:_exporter-|-exporter_){_ANY}"),
    Place(_DOCUMENTS, rf"\bloadfleet-exporter-{_ANY}(?=\.cdx\.json)"),
    Place(_DOCUMENTS, rf"\bloadfleet-exporter-{_ANY}(?=\.tgz)", _SEMANTIC),
    # The chart by its version, also on the next line of a command, and addresses with a tag.
    Place(_DOCUMENTS, rf"/loadfleet-exporter (?:\\\n|[^\n])*?--version[ =]{_ANY}", _SEMANTIC),
    Place(_DOCUMENTS, rf"/loadfleet-exporter/(?:[a-z]+/)*v{_ANY}\b"),
)


def current(root: Path) -> Version:
    """Return the version of the sources."""
    found = re.search(PLACES[0].pattern, (root / SOURCE).read_text(), re.MULTILINE)
    if found is None:
        raise RefusalError(f'{SOURCE}: no line is as `__version__ = "1.2.3"`; write it again')
    return parsed(found[1])


def mistaken(root: Path, version: Version) -> Iterator[tuple[str, int, str]]:
    """Yield file, line and text of each version that is another one or spelled otherwise."""
    for place in PLACES:
        for name in files(root, *place.files):
            text = (root / name).read_text(encoding="utf-8")
            for match in re.finditer(place.pattern, text, re.MULTILINE):
                if match[1] != version.spelled(*place.spelling):
                    yield name, text.count("\n", 0, match.start(1)) + 1, match[1]


def change(root: Path, version: Version) -> None:
    """Write the version into every place that repeats it."""
    for place in PLACES:
        spelled = version.spelled(*place.spelling)
        for name in files(root, *place.files):
            before = (root / name).read_text(encoding="utf-8")
            put = partial(_with_group, spelled)
            after = re.sub(place.pattern, put, before, flags=re.MULTILINE)
            if after != before:
                (root / name).write_text(after, encoding="utf-8")


def _with_group(new: str, match: re.Match[str]) -> str:
    """Return the text of a match with another version in the place of its group."""
    start, end = match.start(1) - match.start(), match.end(1) - match.start()
    return match[0][:start] + new + match[0][end:]
