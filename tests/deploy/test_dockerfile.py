"""The image's sources, as far as they can be checked without building."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.deploy.locks import IMAGE, LOCK, ROOT, pins
from tests.deploy.tools import tool


if TYPE_CHECKING:
    from pathlib import Path


RUNTIME, _ = IMAGE
MACHINES = {"x86_64": 62, "aarch64": 183}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def direct_dependencies() -> set[str]:
    """Return the requirements in pyproject.toml for the exporter at full speed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["speed"]]
    return {re.split(r"[=<>!~ ;\[]", text)[0].lower() for text in asked}


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile must keep the rules of its trade."""
    checked = subprocess.run(
        [tool("hadolint"), "--no-color", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (checked.returncode, checked.stdout)


def test_the_image_has_what_was_tested() -> None:
    """The image must hold the very wheels that the tests run with, and all that are needed."""
    tested, runtime = (
        {name: re.sub(r" ;[^\\]*", " ", block) for name, block in pins(path).items()}  # any system
        for path in (LOCK, RUNTIME)
    )
    differing = sorted(name for name in runtime if runtime[name] != tested.get(name))

    assert [] == differing, "run `just lock`"
    assert set() == direct_dependencies() - set(runtime), "run `just lock`"


def test_development_stays_outside() -> None:
    """The image must not carry what only developers need."""
    developers = {"pytest", "mypy", "ruff", "hypothesis", "coverage", "hatchling", "pip"}

    assert set() == developers & set(pins(RUNTIME))


@pytest.mark.parametrize("path", IMAGE)
@pytest.mark.parametrize("machine", MACHINES)
def test_every_architecture_has_its_wheels(machine: str, path: str, tmp_path: Path) -> None:
    """The build compiles nothing, so each pinned package needs a wheel for each machine."""
    target = ("--python-platform", f"{machine}-manylinux_2_40", "--python-version", "3.13")

    installed = subprocess.run(
        [
            *(tool("uv"), "pip", "install", "--target", tmp_path, *target, "--no-deps"),
            *("--require-hashes", "--only-binary", ":all:", "--requirement", path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == installed.returncode, installed.stderr
    # The low byte of the machine in the header of an ELF file.
    assert {path.read_bytes()[18] for path in tmp_path.rglob("*.so")} <= {MACHINES[machine]}


def test_its_base_is_pinned() -> None:
    """Each build must have the base that was released, until Renovate brings another."""
    # Renovate follows the variables of `FROM` as long as their lines are together.
    assert re.search(
        r"^ARG BASE=docker\.io/library/debian:[a-z]+-slim\nARG BASE_DIGEST=sha256:[0-9a-f]{64}$",
        DOCKERFILE,
        re.MULTILINE,
    )


def test_a_build_by_hand_claims_nothing() -> None:
    """Version, commit and time must come from who releases, so that none of them is out of date."""
    arguments = re.findall(r"^ARG (VERSION|REVISION|CREATED)=(.*)$", DOCKERFILE, re.MULTILINE)

    assert [("VERSION", ""), ("REVISION", ""), ("CREATED", "")] == arguments


def test_the_stages_share_their_base() -> None:
    """The environment is copied from stage to stage, so its interpreter must be at its place."""
    bases = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.MULTILINE)

    assert [("${BASE}@${BASE_DIGEST}", "python"), ("python", "build"), ("python", "")] == bases


def test_the_build_gets_what_it_copies_and_no_more() -> None:
    """A file that the build does not use must not invalidate its cache or get into it."""
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        ROOT / path
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for path in sources.split()
    ]

    assert allowed == {str(path.relative_to(ROOT)) for path in copied}
    assert all(path.exists() for path in copied)
