"""The lock file: complete, so that its installation resolves nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.locks import IMAGE, LOCK, ROOT, pins, requirement


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def closure(
    wanted: list[Requirement], locked: dict[str, Requirement]
) -> dict[str, list[Requirement]]:
    """Return all requirements that follow from some, by the metadata of installed packages.

    Packages installed in another version than the locked one are skipped.
    """
    found: dict[str, list[Requirement]] = {}
    waiting = [(each, "") for each in wanted]
    while waiting:
        needed, extra = waiting.pop()
        if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(needed.name)
        followed = {extra for each in found.get(name, ()) for extra in ("", *each.extras)}
        found.setdefault(name, []).append(needed)
        if name in locked and locked[name].specifier.contains(metadata.version(name)):
            asked = [Requirement(each) for each in metadata.requires(name) or ()]
            new = {"", *needed.extras} - followed
            waiting += [(each, extra) for each in asked for extra in new]
    return found


@pytest.mark.parametrize("path", [LOCK, *IMAGE, ".ci/locust.txt"])
def test_every_package_is_pinned_with_hashes(path: str) -> None:
    """An exact version, no extra, and the hashes of what was looked at when it was pinned."""
    loose = [
        name
        for name, block in pins(path).items()
        if ["=="] != [each.operator for each in requirement(block).specifier]
        or requirement(block).extras
        or "--hash=sha256:" not in block
    ]

    assert [] == loose


def test_the_documents_name_the_load_generators_that_are_tested() -> None:
    """On which version a provider was proven is said with the version that CI installs."""
    locust = requirement(pins(".ci/locust.txt")["locust"]).specifier
    selenium = json.loads((ROOT / ".ci" / "selenium" / "package.json").read_text())["dependencies"]
    text = (ROOT / "deploy" / "docs" / "reference" / "fields.md").read_text()

    named = re.findall(r"the real program, version ([0-9.]+)", text)

    assert [*(each.version for each in locust), *selenium.values()] == named


def test_the_lock_has_all_that_is_needed() -> None:
    """The lock must contain everything that its packages need, since nothing is resolved."""
    extras = [each for some in PROJECT["optional-dependencies"].values() for each in some]
    wanted = [Requirement(each) for each in (*PROJECT["dependencies"], *extras)]
    direct = [each for each in wanted if each.name != PROJECT["name"]]
    locked = {name: requirement(block) for name, block in pins(LOCK).items()}

    missing = [
        str(each)
        for name, needed in closure(direct, locked).items()
        for each in needed
        if name not in locked or not each.specifier.contains(version_of(locked[name]))
    ]

    assert [] == missing, "run `just lock`"


def version_of(pinned: Requirement) -> str:
    return next(iter(pinned.specifier)).version


def test_every_dependency_is_bounded() -> None:
    """`pip install .` must not take a major version that nobody has tried."""
    extras = PROJECT["optional-dependencies"].values()
    wanted = [Requirement(each) for some in (PROJECT["dependencies"], *extras) for each in some]
    unbounded = [
        each.name
        for each in wanted
        if each.name != PROJECT["name"]
        and {">=", "<"} != {specifier.operator for specifier in each.specifier}
    ]

    assert [] == unbounded


def test_time_zones_are_there_without_those_of_the_system() -> None:
    """Time zones must be found without the system's: a slim image has none."""
    code = "import zoneinfo; print(zoneinfo.TZPATH, zoneinfo.ZoneInfo('Europe/Zurich').key)"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("() Europe/Zurich\n", "") == (done.stdout, done.stderr)
    assert "tzdata" in [each.name for each in map(Requirement, PROJECT["dependencies"])]
    for path in (LOCK, IMAGE[0]):
        assert requirement(pins(path)["tzdata"]).marker is None
